/**
 * What the time since a host's last sync says about it. Only for people: no right depends on it.
 */
import type { WallMs } from '../../shared/core/time.ts';

export type HostState = 'enrolled' | 'connected' | 'late' | 'lost';

export type PresenceBounds = { readonly lateAfterMs: number; readonly lostAfterMs: number };

export function classifyHost(
  lastSyncAtMs: WallMs | null,
  bounds: PresenceBounds,
  nowMs: WallMs,
): HostState {
  if (lastSyncAtMs === null) return 'enrolled';
  // A wall clock that went back makes an age negative: the sync did happen, so it counts as new.
  const ageMs = nowMs - lastSyncAtMs;
  if (ageMs >= bounds.lostAfterMs) return 'lost';
  return ageMs >= bounds.lateAfterMs ? 'late' : 'connected';
}
