const FILES: Readonly<Record<string, string>> = { graphql: 'graphql.worker.js', json: 'json.worker.js' };

// Monaco asks for its workers through this global. They are files of ours, so that the page's policy needs no blob: URLs.
Object.assign(globalThis, {
  MonacoEnvironment: {
    getWorker: (_id: string, label: string) => new Worker(`/graphiql/${FILES[label] ?? 'editor.worker.js'}`),
  },
});
