/** The model of the story: a service that answers each request with the turn that was recorded. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RecordedTurn } from './turn-file.ts';

export class ScriptedModel {
  readonly url: string;
  readonly #server: Server;

  private constructor(url: string, server: Server) {
    this.url = url;
    this.#server = server;
  }

  /** `beforeTurn` runs before a turn is given out, also when the agent asks for it again. */
  static async start(
    turns: readonly RecordedTurn[],
    beforeTurn: (turn: number) => Promise<void>,
  ): Promise<ScriptedModel> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      const respond = async (): Promise<void> => {
        const { turn } = JSON.parse(Buffer.concat(chunks).toString()) as { turn: number };
        const recorded = turns[turn - 1];
        if (recorded !== undefined) await beforeTurn(turn);
        response.end(JSON.stringify({ calls: recorded?.calls ?? null }));
      };
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          respond().catch((error: unknown) => {
            response.writeHead(500).end(String(error));
          });
        });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScriptedModel(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, server);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
