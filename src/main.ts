#!/usr/bin/env node
/** The process: read the configuration, start, say where to go, and stop when told to. */
import 'reflect-metadata';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DatabaseUnavailable, startApp, version, type App } from './app';
import { createUser } from './cli';
import { exportAudit, verifyAuditAtShell } from './cli-audit';
import { ConfigError, readConfig, type ProcessRole } from './config';
import { Role } from './entities/enums';

const STOP_WITHIN_MS = 10_000;
/** Whoever spreads requests over several processes has this long to learn that this one goes. */
const SAY_NO_MS = 3000;
const EXIT = { wrong: 1, software: 70, unavailable: 69, configuration: 78 } as const;

const UNKNOWN_HOST = 'HOST is not a name that this machine knows; set it to an address, or to 0.0.0.0 for all of them.';
/** Why the address that was asked for cannot be had. */
const LISTEN_FAULTS: Partial<Record<string, string>> = {
  EADDRINUSE: 'The port is taken by another program; set PORT to a free one (0 picks one).',
  EACCES: 'This user may not listen on that port; set PORT to one above 1023.',
  EADDRNOTAVAIL: 'HOST is not an address of this machine; set it to one that is, or to 0.0.0.0 for all of them.',
  ENOTFOUND: UNKNOWN_HOST,
  EAI_AGAIN: UNKNOWN_HOST,
};

const program = new Command('keyframe')
  .description('The GraphQL control plane for snapshots of Incus and LXD instances.')
  .version(version)
  .enablePositionalOptions() // `user create` has a --role of its own
  .addOption(
    new Option('--role <role>', 'what this process does').choices(['all', 'api', 'worker', 'migrate']).default('all'),
  )
  .action(({ role }: { role: ProcessRole }) => orExit(() => start(role)));

program
  .command('user')
  .description('accounts')
  .command('create')
  .description('makes an account and prints its one-time password')
  .requiredOption('--email <address>', 'e-mail address, with which the person signs in')
  .addOption(new Option('--role <role>', 'what they may do').choices(Object.keys(Role)).makeOptionMandatory())
  .option('--name <name>', 'the name others see')
  .action((options: { email: string; role: Role; name?: string }) =>
    orExit(async () => {
      const password = await createUser(readConfig('all'), options);
      process.stdout.write(
        `One-time password for ${options.email}: ${password}\nIt must be changed at the first sign-in.\n`,
      );
    }),
  );

const audit = program.command('audit').description('the log of who did what');
audit
  .command('export')
  .description('prints the entries as lines of JSON, oldest first, with position, signature and hash')
  .option('--after <position>', 'only those behind this position', wholeNumber, 0)
  .action(({ after }: { after: number }) => orExit(() => exportAudit(readConfig('all'), after, process.stdout)));
audit
  .command('verify')
  .description(
    'checks every signature, the chain and the checkpoints, and prints what was found; exits 1 when anything is wrong',
  )
  .action(() =>
    orExit(async () => {
      const { checkpoint, ...report } = await verifyAuditAtShell(readConfig('all'));
      const newestCheckpoint = checkpoint && {
        ...checkpoint,
        hash: checkpoint.hash.toString('hex'),
        signature: checkpoint.signature.toString('hex'),
      };
      process.stdout.write(`${JSON.stringify({ ...report, newestCheckpoint }, null, 2)}\n`);
      if (!report.intact) process.exitCode = EXIT.wrong;
    }),
  );

void program.parseAsync();

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It is a whole number.');
  return Number(text);
}

async function start(role: ProcessRole): Promise<void> {
  const config = readConfig(role);
  const told = new AbortController();
  told.signal.addEventListener('abort', () => {
    setTimeout(() => process.exit(EXIT.software), STOP_WITHIN_MS).unref();
  });
  // From the first moment: a start that is interrupted leaves no database behind that nobody looks after.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => told.abort(signal));
  const app = await startApp(config, told.signal).catch((error: unknown) => {
    if (told.signal.aborted) process.exit(0);
    throw error;
  });
  // A person at the keyboard has nobody who would have to learn it.
  const end = () => app.stop(told.signal.reason === 'SIGTERM' ? SAY_NO_MS : 0).then(() => process.exit(0));
  if (role === 'migrate') return end();
  told.signal.addEventListener('abort', () => void end());
  announce(app);
}

/** Standard output is for people and scripts that start us; the log goes to standard error. */
function announce({ url, accounts }: App): void {
  if (!url) return;
  if (accounts.length > 0) process.stdout.write('Sign in as\n');
  for (const { email, password } of accounts) process.stdout.write(`  ${email.padEnd(22)} ${password}\n`);
  process.stdout.write(`GraphiQL at ${url}/graphiql\nReady at ${url}/graphql\n`);
}

/** What an operator can mend is a sentence; only our own faults show where they came from. */
async function orExit(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { code, message, syscall, constructor } = error as NodeJS.ErrnoException;
    if (error instanceof ConfigError) fail(message, EXIT.configuration);
    if (error instanceof DatabaseUnavailable) fail(message, EXIT.unavailable);
    if (syscall === 'listen' || syscall === 'getaddrinfo')
      fail(LISTEN_FAULTS[code ?? ''] ?? message, EXIT.configuration);
    if (['DataFolderError', 'EmbeddedPostgresError', 'AppError'].includes(constructor.name))
      fail(message, EXIT.configuration);
    process.stderr.write(`${(error as Error).stack ?? message}\n`);
    process.exit(EXIT.software);
  }
}

function fail(message: string, code: number): never {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}
