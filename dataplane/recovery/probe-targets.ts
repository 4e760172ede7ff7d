/**
 * Where probes may go: what the operator of this sidecar allows, and nothing that a policy could
 * name besides. A policy comes from elsewhere; whoever writes one is not to reach every address that
 * this host can.
 */

export const LOOPBACK_TARGETS = ['127.0.0.1', '[::1]', 'localhost'] as const;

export type ProbeTargets = {
  /** Why it may not be asked, with the way out; `null` where it may. */
  readonly problemOf: (url: string) => string | null;
};

/** Each is a host, or a host and a port; throws a sentence about the first that is neither. */
export function probeTargets(allowed: readonly string[]): ProbeTargets {
  const places = new Set(allowed.map(placeOf));
  return {
    problemOf: (url) => {
      if (!URL.canParse(url)) return `${url} is no URL`;
      const { protocol, hostname, port, username, password } = new URL(url);
      if (protocol !== 'http:' && protocol !== 'https:') return `${protocol} is not asked`;
      if (username !== '' || password !== '') return 'a URL with credentials is not asked';
      const standard = protocol === 'https:' ? '443' : '80';
      const place = `${hostname}:${port === '' ? standard : port}`;
      if (places.has(hostname) || places.has(place)) return null;
      return `probeTargets of this sidecar does not name ${place}: add it, if that is the app`;
    },
  };
}

function placeOf(text: string): string {
  const parsed = URL.canParse(`http://${text}`) ? new URL(`http://${text}`) : null;
  const isPlace =
    parsed !== null &&
    parsed.hostname !== '' &&
    parsed.pathname === '/' &&
    !/[/?#@]/.test(text) &&
    !text.includes('*');
  if (!isPlace)
    throw new Error(
      `${text} is no host: write a name or an address, with a port or without, as verify.local:8080`,
    );
  // A port of its own is kept, also the one that a URL leaves out.
  const port = /:([0-9]{1,5})$/.exec(text.replace(/^\[[^\]]*\]/, ''))?.[1];
  return port === undefined ? parsed.hostname : `${parsed.hostname}:${Number(port)}`;
}
