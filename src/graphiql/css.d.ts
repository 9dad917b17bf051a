/** The bundler turns a stylesheet's import into a file of its own; the code gets nothing from it. */
declare module '*.css';
