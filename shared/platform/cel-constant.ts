/** The truth of an expression that is the same for every request, where that can be seen. */
import { serialize, type ASTNode, type Environment } from '@marcbachmann/cel-js';
import { childrenOf, variableNamed } from './cel-cost.ts';

type Constants = ReadonlyMap<string, { readonly constant: boolean | null }>;

/** `null` where it depends on the request, cannot be seen, or fails. */
export function constantTruth(
  node: ASTNode,
  environment: Environment,
  variables: Constants,
): boolean | null {
  const truth = (child: ASTNode): boolean | null => constantTruth(child, environment, variables);
  const name = variableNamed(node);
  if (name !== null) return variables.get(name)?.constant ?? null;
  switch (node.op) {
    case 'value':
      return typeof node.args === 'boolean' ? node.args : null;
    case '!_': {
      const inner = truth(node.args);
      return inner === null ? null : !inner;
    }
    case '&&':
    case '||': {
      // One side is enough, whatever the other does.
      const decides = node.op === '||';
      const [left, right] = node.args.map(truth);
      if (left === decides || right === decides) return decides;
      return left === !decides && right === !decides ? !decides : null;
    }
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
    case 'in':
      return namesNothing(node) ? evaluated(node, environment) : null;
    default:
      return null;
  }
}

function namesNothing(node: ASTNode): boolean {
  return node.op !== 'id' && childrenOf(node).every(namesNothing);
}

function evaluated(node: ASTNode, environment: Environment): boolean | null {
  try {
    const value: unknown = environment.evaluate(serialize(node));
    return typeof value === 'boolean' ? value : null;
  } catch {
    // It fails whenever it runs, and says so then.
    return null;
  }
}
