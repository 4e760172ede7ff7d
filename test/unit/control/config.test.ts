import { describe, expect, test } from 'vitest';
import { loadControlConfig } from '../../../control/config.ts';
import { ConfigurationError } from '../../../shared/platform/configuration.ts';

const load = (...argv: string[]) => {
  const loaded = loadControlConfig({ program: 'holdfast-control', argv, env: {} });
  if (loaded.kind !== 'run') throw new Error(loaded.text);
  return loaded.config;
};

describe('configuration of control', () => {
  test('has working defaults on loopback', () => {
    expect(load()).toMatchObject({
      listen: { host: '127.0.0.1', port: 7480 },
      leaseTtlMs: 30_000,
      lockDelayMs: 0,
    });
  });

  test('takes how policy is published from flags and the environment', () => {
    expect(load()).toMatchObject({ twoPersonPublication: 'off', rollout: 'all' });
    expect(load().rolloutStages.at(-1)).toEqual({ labels: {}, percentage: 100, bakeMs: 0 });
    const env = {
      HOLDFAST_TWO_PERSON_PUBLICATION: 'loosening',
      HOLDFAST_ROLLOUT: 'staged',
      HOLDFAST_ROLLOUT_STAGES: 'canary=true/1m, 100%',
    };
    const loaded = loadControlConfig({ program: 'holdfast-control', argv: [], env });
    expect(loaded).toMatchObject({
      config: {
        twoPersonPublication: 'loosening',
        rollout: 'staged',
        rolloutStages: [
          { labels: { canary: 'true' }, percentage: 100, bakeMs: 60_000 },
          { labels: {}, percentage: 100, bakeMs: 0 },
        ],
      },
    });
  });

  test('names the words that it would take', () => {
    expect(() => load('--rollout', 'al')).toThrow(
      /rollout .* is "al": it must be one of all, staged;/,
    );
  });

  test('takes names of hosts as a list', () => {
    expect(load('--allowed-hosts', 'A.example, b.example').allowedHosts).toEqual([
      'a.example',
      'b.example',
    ]);
  });

  test.each([
    [['--listen', 'nowhere'], /listen is nowhere/],
    [['--lease-ttl', '500ms'], /leaseTtl is 500 ms/],
    [['--lease-ttl', '2h'], /leaseTtl is 7200000 ms/],
    [['--lock-delay', '61s'], /lockDelay/],
    [['--drift', '0.3'], /drift/],
    [['--host-lost-after', '15s'], /hostLostAfter .* must be longer/],
    [['--bundle-wait-max', '1ms'], /bundleWaitMax/],
    [['--join-token-ttl', '25h'], /joinTokenTtl/],
    [['--lease-ttl', '30'], /leaseTtl/],
    [['--rollout', 'some'], /rollout/],
    [['--two-person-publication', 'on'], /twoPersonPublication/],
    [['--rollout-stages', '5%/10m'], /rolloutStages: the last stage must be 100%/],
    [['--rollout-stages', 'canary/10m,100%'], /rolloutStages: stage canary\/10m is none/],
  ])('%j is refused', (argv, message) => {
    expect(() => load(...argv)).toThrow(ConfigurationError);
    expect(() => load(...argv)).toThrow(message);
  });

  test.each([
    [['--lease-ttl', '1s']],
    [['--lock-delay', '60s']],
    [['--drift', '0.2']],
    [['--host-lost-after', '16s']],
    [['--listen', '[::1]:0']],
  ])('the near-miss %j is taken', (argv) => {
    expect(() => load(...argv)).not.toThrow();
  });
});
