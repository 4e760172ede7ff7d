/** The report of a publication, for people: in one line each beside an answer, or whole. */
import type { PublishAnswer } from '../../shared/wire/control-api.ts';
import type {
  AffectedOperations,
  Impact,
  Loosening,
  PublicationReport,
} from '../../shared/wire/publication.ts';
import type { Output } from './output.ts';

const CHANGES_SHOWN = 5;

/** What a person should have read before walking away. */
export function reportNotes({ report, rollout, outcome, proposalId }: PublishAnswer): string[] {
  if (report === undefined) return [];
  const { warnings, loosening, impact, operations } = report;
  const notes = warnings.map((warning) => `warning: ${warning}`);
  if (loosening !== null) {
    const looser = loosening.changes.filter(({ kind }) => kind === 'looser');
    for (const { sentence } of looser.slice(0, CHANGES_SHOWN)) notes.push(`looser: ${sentence}`);
    const more = loosening.looser - Math.min(CHANGES_SHOWN, looser.length);
    if (more > 0) notes.push(`looser: and ${more} more; holdfast policy impact shows them`);
  }
  if (impact !== null && impact.compared > 0) notes.push(`impact: ${impactText(impact)}`);
  if (operations !== null && operations.refused > 0) {
    notes.push(`accepted work: ${operationsText(operations)}`);
  }
  if (outcome === 'published' && rollout === 'staged') {
    notes.push('it is rolled out by stages: holdfast policy rollout shows how far it is');
  }
  if (outcome === 'proposed') {
    notes.push(`another operator: holdfast policy approve ${proposalId ?? ''}`);
  }
  return notes;
}

/** All of it. */
export function showReport(output: Output, answer: PublishAnswer): void {
  const { report } = answer;
  if (report === undefined) {
    output.line(`policy revision ${answer.policyRevision} is this document already`);
    return;
  }
  showFindings(output, report);
  if (answer.needsApproval === true) output.line('A second person has to approve it.');
}

export function showFindings(output: Output, report: PublicationReport): void {
  const { comparedWith, warnings, loosening, impact, operations } = report;
  for (const warning of warnings) output.line(`warning: ${warning}`);
  if (comparedWith === null || loosening === null) {
    output.line('No policy is in force: there is nothing to compare with.');
    return;
  }
  output.heading(`Beside revision ${comparedWith}`);
  showLoosening(output, loosening);
  if (impact !== null) {
    output.line();
    output.heading('Recent decisions, decided again');
    output.line(impactText(impact));
    showExamples(output, impact.examples);
  }
  if (operations !== null) {
    output.line();
    output.heading('Accepted work that has not ended');
    output.line(operationsText(operations));
    if (operations.examples.length > 0) {
      output.table(operations.examples, [
        { header: 'OPERATION', value: ({ operationId }) => operationId },
        { header: 'STATE', value: ({ state }) => state },
        { header: 'RULE', value: ({ rule }) => rule },
        { header: 'ON REVOKE', value: ({ onRevoke }) => onRevoke ?? '' },
        { header: 'WHY', value: ({ reason, message }) => `${reason}: ${message}` },
      ]);
    }
  }
}

function showLoosening(output: Output, loosening: Loosening): void {
  const { looser, tighter, changed, changes, tests } = loosening;
  output.line(`${looser} looser, ${changed} otherwise changed, ${tighter} tighter`);
  if (changes.length > 0) {
    output.table(changes, [
      { header: 'KIND', value: ({ kind }) => kind },
      { header: 'PLACE', value: ({ path }) => path },
      { header: 'WHAT', value: ({ sentence }) => sentence },
    ]);
  }
  if (tests.compared > 0) {
    output.line(`the tests of both documents: ${countsText(tests)}`);
    showExamples(output, tests.examples);
  }
}

function showExamples(output: Output, examples: Impact['examples']): void {
  if (examples.length === 0) return;
  output.table(examples, [
    { header: 'CHANGE', value: ({ kind }) => kind.replaceAll('_', ' ') },
    { header: 'REQUEST', value: ({ source }) => source },
    { header: 'PRINCIPAL', value: ({ principal }) => principal },
    { header: 'ACTION', value: ({ action }) => action },
    { header: 'BEFORE', value: ({ before }) => verdictText(before) },
    { header: 'AFTER', value: ({ after }) => verdictText(after) },
  ]);
}

function verdictText({ reason, rule, message }: Impact['examples'][number]['before']): string {
  const by = rule === null ? reason : `${reason} by ${rule}`;
  return message === '' ? by : `${by}: ${message}`;
}

function countsText({ compared, same, counts }: Pick<Impact, 'compared' | 'same' | 'counts'>) {
  const parts = [
    [counts.permit_to_deny, 'permitted before and refused now'],
    [counts.deny_to_permit, 'refused before and permitted now'],
    [counts.rule_changed, 'decided by another rule'],
    [counts.reason_changed, 'refused for another reason'],
    [counts.terms_changed, 'permitted on other terms'],
  ] as const;
  const said = parts.filter(([held]) => held > 0).map(([held, what]) => `${held} ${what}`);
  return `of ${compared} the same: ${same}${said.length === 0 ? '' : `, ${said.join(', ')}`}`;
}

function impactText(impact: Impact): string {
  const { notReplayable, isAll } = impact;
  const not = notReplayable > 0 ? `; ${notReplayable} more could not be replayed` : '';
  return `${countsText(impact)}${not}${isAll ? '' : '; older ones were not looked at'}`;
}

function operationsText(operations: AffectedOperations): string {
  const { unfinished, refused, notReplayable, byOnRevoke, isAll } = operations;
  const not = notReplayable > 0 ? `; of ${notReplayable} it is not known` : '';
  const rest = isAll ? '' : '; older ones were not looked at';
  const said = [
    [byOnRevoke?.abort ?? 0, 'abort'],
    [byOnRevoke?.pause ?? 0, 'pause'],
    [byOnRevoke?.finish ?? 0, 'finish'],
  ] as const;
  const does = said.filter(([held]) => held > 0).map(([held, what]) => `${held} ${what}`);
  // To publish it withdraws nothing: that is what would come of it if their authority were revoked.
  const onRevoke = does.length === 0 ? '' : ` (revoked, their rules say: ${does.join(', ')})`;
  return `${refused} of ${unfinished} would be refused by the new document${onRevoke}${not}${rest}`;
}
