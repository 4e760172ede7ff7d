/**
 * Notices as the timeline knows them: a principal or credential that was revoked, an action that was
 * stopped, a resource that is held. Whoever gives one to hosts records it here first; from then on
 * decisions are held against it.
 *
 * W1  A notice counts from the moment that it names, also where that is over: what was looked at
 *     already and may have come after it is looked at again.
 */
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { NoticeKind } from '../../shared/wire/divergences.ts';
import type { Notice } from '../core/authority-timeline.ts';
import type { ControlTime } from '../reports/control-time.ts';
import type { DivergenceStore, TimelineStore } from '../store/divergence-store.ts';

export type NoticeDraft = {
  readonly noticeId: string;
  readonly kind: NoticeKind;
  readonly subject: string;
  readonly reason: string;
  /** In control's time; `null`: from now on. */
  readonly fromMs: number | null;
  /** `null`: until it is lifted. */
  readonly untilMs: number | null;
};

type Ports = {
  readonly timeline: TimelineStore;
  readonly divergences: DivergenceStore;
  readonly time: ControlTime;
  readonly clock: Clock;
};

export class NoticeBoard {
  readonly #ports: Ports;
  #notices: readonly Notice[];
  #onRewound: () => void = () => {};

  private constructor(ports: Ports, notices: readonly Notice[]) {
    this.#ports = ports;
    this.#notices = notices;
  }

  static async open(ports: Ports): Promise<NoticeBoard> {
    return new NoticeBoard(ports, await ports.timeline.notices());
  }

  notices(): readonly Notice[] {
    return this.#notices;
  }

  /** There is something to look at again. */
  onRewound(tell: () => void): void {
    this.#onRewound = tell;
  }

  async record(draft: NoticeDraft, actor: string): Promise<Notice> {
    const nowMs = this.#ports.time.nowMs();
    const notice: Notice = { ...draft, fromMs: draft.fromMs ?? nowMs };
    await this.#put(notice, actor, 'notice.recorded');
    // W1.
    if (notice.fromMs < nowMs) {
      await this.#ports.divergences.rewindTo(notice.fromMs);
      this.#onRewound();
    }
    return notice;
  }

  async lift(noticeId: string, actor: string): Promise<Notice> {
    const known = this.#notices.find((notice) => notice.noticeId === noticeId);
    if (known === undefined) throw new HoldfastError('not_found', `there is no notice ${noticeId}`);
    const nowMs = this.#ports.time.nowMs();
    if (known.untilMs !== null && known.untilMs <= nowMs) return known;
    const lifted = { ...known, untilMs: nowMs };
    await this.#put(lifted, actor, 'notice.lifted');
    return lifted;
  }

  /** It was written together with its number in the sequence. */
  adopt(notice: Notice): void {
    const { noticeId } = notice;
    this.#notices = [...this.#notices.filter((one) => one.noticeId !== noticeId), notice];
  }

  async #put(notice: Notice, actor: string, action: string): Promise<void> {
    const { timeline, clock } = this.#ports;
    const { noticeId, kind, subject, reason, fromMs, untilMs } = notice;
    await timeline.putNotice(notice, {
      atMs: clock.now().wallMs,
      actor,
      action,
      target: `notice/${noticeId}`,
      detail: { kind, subject, reason, fromMs, untilMs },
    });
    this.adopt(notice);
  }
}
