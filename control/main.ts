#!/usr/bin/env node
import { runDaemon } from '../shared/platform/shutdown.ts';
import packageManifest from '../package.json' with { type: 'json' };
import { loadControlConfig } from './config.ts';
import { openControl } from './daemon.ts';

const sources = { program: 'holdfast-control', argv: process.argv.slice(2), env: process.env };

await runDaemon(
  () => loadControlConfig(sources),
  (config) => openControl(config, packageManifest.version),
);
