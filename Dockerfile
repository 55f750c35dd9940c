# docker build -t tintype .
# docker run -p 3250:3250 -p 3251:3251 -e TINTYPE_KEY=me:a-long-secret -v tintype-data:/data tintype
#
# A container is called from outside, so the server binds to all addresses, and then it refuses to start without a key:
# TINTYPE_KEY=id:secret, sent by callers as `Authorization: Key id:secret`.

FROM node:24-slim AS build
WORKDIR /tintype
COPY package.json package-lock.json .npmrc tsconfig.base.json tsconfig.build.json ./
COPY packages ./packages
# The image brings its Node: the packaged one would only weigh, as would ONNX Runtime for other systems.
RUN ONNXRUNTIME_NODE_INSTALL=skip npm ci --no-audit --no-fund --include=dev \
 && npm run build \
 && npm prune --omit=dev --no-audit --no-fund \
 && rm -rf node_modules/node-linux-* node_modules/.bin/node \
 && rm -rf node_modules/onnxruntime-node/bin/*/darwin node_modules/onnxruntime-node/bin/*/win32 \
 && rm -rf packages/diffusion/parity \
 && find packages -name src -prune -exec rm -rf {} + \
 && find packages -name '.tsbuildinfo' -delete

FROM node:24-slim
ENV NODE_ENV=production \
    TINTYPE_HOST=0.0.0.0 \
    TINTYPE_DATA=/data \
    TINTYPE_DIFFUSION_CACHE=/data/models
RUN mkdir /data && chown node:node /data && chmod 0700 /data
WORKDIR /tintype
COPY --from=build /tintype ./
COPY LICENSE README.md ./
USER node
VOLUME /data
EXPOSE 3250 3251
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD node -e 'fetch("http://127.0.0.1:"+(process.env.TINTYPE_PORT||3250)+"/health").then((a)=>process.exit(a.ok?0:1),()=>process.exit(1))'
# The launcher starts the server again after exit code 70 (a commit that failed); signals go through to it.
COPY scripts ./scripts
CMD ["node", "scripts/start.mjs"]
