/** Health by plane: two verdicts that never mix (DESIGN 8). */
import Type, { type Static } from 'typebox';
import { wallMs } from './numbers.ts';

const wallMsOrNull = Type.Union([wallMs(), Type.Null()]);

export const HealthPartSchema = Type.Object({
  state: Type.Enum(['ok', 'degraded', 'failed', 'unknown']),
  detail: Type.String(),
  sinceMs: wallMsOrNull,
  lastSuccessMs: wallMsOrNull,
  lastError: Type.Union([Type.String(), Type.Null()]),
});
export type HealthPart = Static<typeof HealthPartSchema>;

export const PlaneHealthSchema = Type.Object({
  verdict: Type.Enum(['ok', 'impaired', 'down']),
  summary: Type.String(),
  parts: Type.Record(Type.String(), HealthPartSchema),
});
export type PlaneHealth = Static<typeof PlaneHealthSchema>;

export const HealthSchema = Type.Object(
  {
    daemon: Type.Enum(['control', 'sidecar']),
    version: Type.String(),
    atMs: wallMs(),
    controlPlane: PlaneHealthSchema,
    dataPlane: PlaneHealthSchema,
  },
  { $id: 'Health' },
);
export type Health = Static<typeof HealthSchema>;

export const ProbeSchema = Type.Object(
  {
    status: Type.Enum(['ok', 'failed']),
    checks: Type.Optional(
      Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), detail: Type.String() })),
    ),
  },
  { $id: 'Probe' },
);
export type Probe = Static<typeof ProbeSchema>;
