/**
 * Decisions: in process (what policy itself costs on the thread that admits) beside Cedar, over HTTP
 * beside Cerbos, under one policy in three languages, whose decisions are compared before anything is
 * timed. In process it is CPU time of the thread that counts, over HTTP the clock; rounds take turns,
 * and the figure is the median, because the machine may be shared. And what a document costs at
 * publication, and to compile.
 */
import { compilePolicy, decide } from '../../shared/core/policy.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import type { DecisionInput, PolicyDocument } from '../../shared/wire/policy-document.ts';
import { benchPolicy } from './bench-policy.ts';
import { benchDecideHttp, type HttpFigure } from './decide-http.ts';
import { holdfastPolicy, sampleRequests, timedRequest } from './equivalent-policies.ts';
import { median, type DecideOptions } from './decide-options.ts';
import { benchPublication, threadCpuMs, type PublicationFigures } from './publication.ts';
import { NO_RIVALS, openCedar, openRivals, type Rivals } from './rivals.ts';

export type DecideFigures = {
  readonly inProcess: readonly InProcessFigure[];
  /** Of one decision: at the most rules to that at the fewest. */
  readonly growthOfCost: number;
  /** Under the policy of the admission benchmark: several rules are for the action. */
  readonly admissionPolicyPerSecond: number;
  readonly http: readonly HttpFigure[] | null;
  readonly publication: PublicationFigures;
};

type InProcessFigure = {
  readonly rules: number;
  readonly perSecond: number;
  readonly cedarPerSecond: number | null;
  readonly ratio: number | null;
};

export async function benchDecide(options: DecideOptions): Promise<DecideFigures> {
  const { say } = options;
  // First, while nothing is warm: a daemon that publishes or starts is not warm either.
  const publication = benchPublication(say);
  const rivals = options.withRivals ? openRivals(say) : NO_RIVALS;
  return {
    ...benchInProcess(options, rivals),
    http: await benchDecideHttp(options, rivals),
    publication,
  };
}

/** One thing that decides, and how its requests are made. */
type Contestant = {
  readonly name: string;
  /** Makes so many requests, and gives what decides them all. */
  readonly prepare: (count: number) => () => void;
};

/** Short and often: on a shared machine only what is measured at the same time can be compared. */
const TURN_MS = 60;
const TURNS_PER_ROUND = 5;
/** Requests come anew each time, as from a parser; so many are made before the clock runs. */
const BATCH_MAX = 2_000;
const BATCH_MS = 15;

function benchInProcess({ rules, rounds, say }: DecideOptions, { cedar }: Rivals) {
  const own: Contestant[] = [
    ownContestant('admission', benchPolicy(), (index) => admissionRequest(index)),
  ];
  const theirs: Contestant[] = [];
  for (const count of rules) {
    const document = holdfastPolicy(count);
    own.push(ownContestant(`own-${count}`, document, (index) => timedRequest(count, index)));
    if (cedar === null) continue;
    const preparsed = openCedar(cedar, count);
    checkAgainst('Cedar', document, sampleRequests(count), (input) =>
      preparsed.permits(preparsed.prepare(input)),
    );
    theirs.push({
      name: `cedar-${count}`,
      prepare(length) {
        const calls = Array.from({ length }, (_, index) =>
          preparsed.prepare(timedRequest(count, index)),
        );
        return () => {
          for (const call of calls) if (!preparsed.permits(call)) throw new Error('Cedar refused');
        };
      },
    });
  }
  const rates = inTurns([...own, ...theirs], rounds, say);
  const rateOfName = (name: string): number => median(rates.get(name) ?? []);
  const inProcess = rules.map((count): InProcessFigure => {
    const perSecond = rateOfName(`own-${count}`);
    const cedarPerSecond = cedar === null ? null : rateOfName(`cedar-${count}`);
    const ratio = cedarPerSecond === null ? null : perSecond / cedarPerSecond;
    return { rules: count, perSecond, cedarPerSecond, ratio };
  });
  const most = rates.get(`own-${Math.max(...rules)}`) ?? [];
  const fewest = rates.get(`own-${Math.min(...rules)}`) ?? [];
  return {
    inProcess,
    growthOfCost: median(fewest.map((rate, turn) => rate / (most[turn] ?? 0))),
    admissionPolicyPerSecond: rateOfName('admission'),
  };
}

function ownContestant(
  name: string,
  document: PolicyDocument,
  request: (index: number) => DecisionInput,
): Contestant {
  const policy = compiled(document);
  return {
    name,
    prepare(length) {
      const inputs = Array.from({ length }, (_, index) => request(index));
      return () => {
        for (const input of inputs) {
          const { reason } = decide(policy, input);
          if (reason !== 'permitted') throw new Error(`${name}: the decision was ${reason}`);
        }
      };
    },
  };
}

function compiled(document: PolicyDocument) {
  const result = compilePolicy(document, compileCel);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.policy;
}

/** Two that decide otherwise are not compared. */
export function checkAgainst(
  rival: string,
  document: PolicyDocument,
  samples: readonly DecisionInput[],
  permits: (input: DecisionInput) => boolean,
): void {
  const policy = compiled(document);
  for (const input of samples) {
    const own = decide(policy, input).decision === 'permit';
    if (permits(input) !== own) {
      throw new Error(`${rival} and Holdfast decide ${JSON.stringify(input)} differently`);
    }
  }
}

/** The rates of each, a second, turn by turn. */
function inTurns(
  contestants: readonly Contestant[],
  rounds: number,
  say: (text: string) => void,
): Map<string, number[]> {
  const rates = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
  // One round more, which warms up and is not counted.
  for (let turn = 0; turn < (rounds + 1) * TURNS_PER_ROUND; turn += 1) {
    for (const contestant of contestants) {
      const rate = rateOf(contestant);
      if (turn >= TURNS_PER_ROUND) rates.get(contestant.name)?.push(rate);
    }
    if (turn % TURNS_PER_ROUND === 0)
      say(`in process: round ${turn / TURNS_PER_ROUND} of ${rounds}`);
  }
  return rates;
}

/** In batches as large as fit into a moment, because some take milliseconds for each decision. */
function rateOf({ prepare }: Contestant): number {
  let batch = 1;
  let spentMs = 0;
  let decisions = 0;
  while (spentMs < TURN_MS) {
    const decideAll = prepare(batch);
    const startedMs = threadCpuMs();
    decideAll();
    const tookMs = threadCpuMs() - startedMs;
    spentMs += tookMs;
    decisions += batch;
    if (tookMs < BATCH_MS && batch < BATCH_MAX) batch = Math.min(BATCH_MAX, batch * 4);
  }
  return (decisions / spentMs) * 1_000;
}

function admissionRequest(index: number): DecisionInput {
  return JSON.parse(
    JSON.stringify({
      principal: 'agent:bench',
      action: 'bench.charge',
      resource: { id: `order-${index}`, attributes: { shard: 's0' } },
      attributes: { amount: 20, currency: 'EUR' },
    }),
  ) as DecisionInput;
}
