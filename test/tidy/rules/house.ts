/** Every rule of the house, in the order in which its findings help most. */
import { processEdges, timeAndChance } from './ambient.ts';
import { noCycles, planesApart } from './layers.ts';
import { fileNames, topLevel } from './layout.ts';
import { exactPins, lockfile, oneNode, scriptsThatRun } from './manifest.ts';
import { pureCore } from './pure-core.ts';
import { restrictedModules } from './restricted-modules.ts';
import type { Rule } from './rule.ts';
import { fileLength, functionLength, lineLength } from './size.ts';
import { buildMachine, erasableSyntax, unfinishedWork } from './source-style.ts';

export const HOUSE_RULES: readonly Rule[] = [
  topLevel,
  fileNames,
  pureCore,
  planesApart,
  noCycles,
  timeAndChance,
  processEdges,
  restrictedModules,
  fileLength,
  lineLength,
  functionLength,
  erasableSyntax,
  unfinishedWork,
  exactPins,
  scriptsThatRun,
  lockfile,
  oneNode,
  buildMachine,
];
