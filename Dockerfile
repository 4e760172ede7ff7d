# One image, two daemons: `control/main.ts` by default, `dataplane/main.ts` as the argument for a sidecar.
# The base carries Node itself, so the optional packages that pin it for development are left out.

FROM node:26.10.0-trixie-slim AS packages
WORKDIR /opt/holdfast
COPY package.json package-lock.json .npmrc ./
RUN ["npm", "ci", "--omit=dev", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]

FROM node:26.10.0-trixie-slim
LABEL org.opencontainers.image.title="Holdfast" \
      org.opencontainers.image.description="Keeps accepted work going, truthfully, when the management systems around it fail" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Holdfast authors"
ENV NODE_ENV=production \
    HOLDFAST_DATA_DIR=/var/lib/holdfast \
    # Memory over speed where both cannot be had: see "Memory" in dataplane/DESIGN.md.
    NODE_OPTIONS=--max-semi-space-size=8 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_TRIM_THRESHOLD_=131072
WORKDIR /opt/holdfast

# A new named volume takes over this owner; a host directory must be given to 10001 by whoever makes it.
RUN ["install", "-d", "-o", "10001", "-g", "10001", "-m", "0700", "/var/lib/holdfast"]
VOLUME ["/var/lib/holdfast"]

# The code belongs to root, so the daemon cannot change what it runs. Nothing but the volume is written,
# so the root file system may be read-only.
COPY --from=packages /opt/holdfast/node_modules ./node_modules
COPY package.json LICENSE ./
COPY shared ./shared
COPY control ./control
COPY dataplane ./dataplane
USER 10001:10001

# Control and sidecar. Both listen on loopback unless HOLDFAST_LISTEN says otherwise.
EXPOSE 7480 7490
STOPSIGNAL SIGTERM
# For control; a sidecar's container overrides it (see deploy/compose.yaml). Kubernetes ignores it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "control/cli/main.ts", "healthcheck", "--url", "http://127.0.0.1:7480/livez"]
ENTRYPOINT ["node"]
CMD ["control/main.ts"]
