/** The engine below the program, as the laboratory sees and changes it behind the program's back. */

/** An instance to work on. */
export interface Place {
  name: string;
  running: boolean;
  stateful: boolean;
  /** How many known files it holds. */
  files: number;
  /** How many small files besides, which never change. */
  bulk?: number;
}

export interface Ground {
  engine: 'local' | 'incus';
  places: Place[];
  /** The program's variables that lead to it. */
  env: Record<string, string>;
  /** The folder of the instance's files. */
  root: (place: Place) => Promise<string>;
  snapshotRoot: (place: Place, snapshot: string) => string;
  /** Names of its snapshots, each as often as the engine has it. */
  snapshots: (place: Place) => Promise<string[]>;
  isRunning: (place: Place) => Promise<boolean>;
  /** Makes it run again where a fault has left it stopped; nothing where it is as it should be. */
  mend: (place: Place) => Promise<void>;
  /** How many restores of its disk have been completed so far. */
  restores: (place: Place) => number;
  /** How many operations on it the engine itself has called failed so far. */
  failures: (place: Place) => number;
  /** When the operation that the engine knows by this id was heard to end; null when it was not. */
  endOf: (id: string) => number | null;
  /** Resolves when nothing goes on in the engine that was asked for earlier. */
  rest: () => Promise<void>;
  close: () => Promise<void>;
}
