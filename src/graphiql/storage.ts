// GraphiQL keeps the front tab's text a second time, apart from its tabs; when the two differ by a late write, it opens
// one tab too many on the next load. The tabs are enough.
const IGNORED = new Set(['graphiql:query', 'graphiql:variables', 'graphiql:headers']);

/** Where GraphiQL keeps its tabs: with this browser tab, so that the next visitor finds the four examples as they are. */
export const storage: Storage = {
  get length() {
    return sessionStorage.length;
  },
  key: (index) => sessionStorage.key(index),
  getItem: (key) => sessionStorage.getItem(key),
  removeItem: (key) => sessionStorage.removeItem(key),
  clear: () => sessionStorage.clear(),
  setItem: (key, value) => {
    if (!IGNORED.has(key)) sessionStorage.setItem(key, value);
  },
};
