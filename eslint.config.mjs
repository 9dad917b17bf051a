import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** Who may import whom: each room lists the rooms it must not reach into. Arrows only point down. */
const room = (target, ...forbidden) => forbidden.map((from) => ({ target: `./src/${target}`, from: `./src/${from}` }));
const above = ['main.ts', 'app.ts'];
const top = [...above, 'server.ts', 'schema.ts', 'endpoint', 'resolvers', 'graphiql'];

export default tseslint.config(
  { ignores: ['dist/**', 'coverage/**', 'node_modules/**', 'src/graphiql/**', '*.js', '**/*.mjs', 'scripts/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    settings: { 'import-x/resolver-next': [createTypeScriptImportResolver()] },
    rules: {
      '@typescript-eslint/no-extraneous-class': 'off', // a GraphQL root or a payload may be a class with only decorators
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // type-graphql's classes describe shapes: object literals of those shapes are what resolvers and services answer.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-misused-spread': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_$' }],
      '@typescript-eslint/no-require-imports': ['error', { allow: ['^\\./(embedded|engine)/', '^@zxcvbn-ts/'] }],
      '@typescript-eslint/consistent-type-imports': 'off',
      'import-x/order': ['error', { 'newlines-between': 'never', alphabetize: { order: 'asc' } }],
      'import-x/no-cycle': 'off', // entities name each other; Relation<T> keeps that safe
      'import-x/no-restricted-paths': [
        'error',
        {
          zones: [
            ...room(
              'engine',
              ...top,
              'services',
              'read',
              'auth',
              'db',
              'entities',
              'worker',
              'embedded',
              'errors.ts',
              'config.ts',
            ),
            ...room('worker', ...top, 'auth', 'embedded'),
            ...room('services', ...top, 'engine', 'worker', 'embedded'),
            ...room('read', ...top, 'services', 'engine', 'worker', 'embedded'),
            ...room('auth', ...top, 'services', 'read', 'engine', 'worker', 'embedded'),
            ...room('db', ...top, 'services', 'read', 'engine', 'worker', 'embedded', 'auth'),
            ...room('entities', ...top, 'services', 'read', 'engine', 'worker', 'embedded', 'auth', 'db'),
            ...room('endpoint', ...above, 'server.ts', 'schema.ts', 'services', 'read', 'engine', 'worker', 'embedded'),
            ...room('resolvers', ...above, 'server.ts', 'endpoint', 'engine', 'worker', 'embedded'),
            ...['errors.ts', 'config.ts'].flatMap((file) =>
              room(file, ...top, 'services', 'read', 'engine', 'worker', 'embedded', 'auth', 'db', 'entities'),
            ),
          ],
        },
      ],
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'The environment is read in config.ts only.' },
      ],
    },
  },
  {
    files: ['src/resolvers/**'],
    ignores: ['src/resolvers/context.ts'], // carries the connection for the read path; resolvers never touch it
    rules: { 'no-restricted-imports': ['error', { paths: ['typeorm', 'pg'] }] },
  },
  { files: ['src/services/**'], rules: { 'no-restricted-imports': ['error', { paths: ['graphql', 'type-graphql'] }] } },
  { files: ['src/config.ts', 'test/**', 'bench/**'], rules: { 'no-restricted-properties': 'off' } },
  {
    // Answers of the API are JSON, and a test says by its expectations what it takes them for.
    files: ['test/**', 'bench/**'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
);
