/** Gauges of the paused work that comes back, set at a scrape. */
import { RESUME_VERDICTS, type Resume } from '../shared/wire/resume-api.ts';
import type { SidecarMetrics } from './sidecar-view.ts';

export function showResume(metrics: SidecarMetrics, resume: Resume): void {
  for (const verdict of RESUME_VERDICTS)
    metrics.set('holdfast_resume_operations', resume.byVerdict[verdict], { verdict });
  metrics.set('holdfast_resume_stopped', resume.order?.isStopped === true ? 1 : 0);
  metrics.set('holdfast_resume_rate', resume.ratePerSecond);
}
