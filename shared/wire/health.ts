/** Health by plane: two verdicts that never mix (DESIGN 8). */
import Type, { type Static } from 'typebox';
import { wallMs } from './numbers.ts';

const wallMsOrNull = (description: string) => Type.Union([wallMs(), Type.Null()], { description });

export const HealthPartSchema = Type.Object({
  state: Type.Enum(['ok', 'degraded', 'failed', 'unknown']),
  detail: Type.String(),
  sinceMs: wallMsOrNull('since when it is in this state'),
  lastSuccessMs: wallMsOrNull('when it last succeeded, or was last seen in order'),
  lastError: Type.Union([Type.String(), Type.Null()], {
    description: 'its last trouble, also after it has passed',
  }),
  lastErrorMs: wallMsOrNull('when that was last seen'),
});
export type HealthPart = Static<typeof HealthPartSchema>;

export const PlaneHealthSchema = Type.Object({
  verdict: Type.Enum(['ok', 'impaired', 'down', 'unknown'], {
    description: 'that of the worst part; what is not known is unknown, never ok',
  }),
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
