/** What `holdfast dev` prints once both daemons serve: where they are, and lines to copy. */
import { relative } from 'node:path';
import type { Supervisor } from './supervisor.ts';

export function firstSteps(supervisor: Supervisor, cwd: string): string {
  const { files } = supervisor;
  const shown = (path: string): string => {
    const fromHere = relative(cwd, path);
    return fromHere.startsWith('..') ? path : fromHere;
  };
  const sidecarUrl = supervisor.url('sidecar');
  const tokenFile = quoted(shown(files.appTokenFile));
  const headers = `-H 'Holdfast-Request: 1' -H "Authorization: Bearer $(cat ${tokenFile})"`;
  const body =
    '{"principal":"agent:notify","action":"notifications.send","resource":{"id":"order-17"}}';
  return `
  control   ${supervisor.url('control')}   token in ${shown(files.adminTokenFile)}
  sidecar   ${sidecarUrl}   token in ${shown(files.appTokenFile)}
            unix:${shown(files.socketPath)}

  Have work accepted, twice with the same key, and see what goes on without control:

    curl -s ${headers} ${sidecarUrl}/v1/operations -H 'Idempotency-Key: hello-1' \\
      -H 'Content-Type: application/json' -d '${body}'
    curl -s ${headers} ${sidecarUrl}/v1/operations
    curl -s ${headers} ${sidecarUrl}/v1/outage-budget

  In another terminal:  npx holdfast status
                        npx holdfast op list
                        npx holdfast outage-budget
  Play an outage:       npx holdfast dev kill control
                        npx holdfast recovery
                        npx holdfast dev start control
  Stop both:            Ctrl-C
`;
}

/** For a shell, where it needs it. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
