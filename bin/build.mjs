// Transpiles src/, test/ and kernels/ one file to one file; types are checked by `npm run typecheck`.
import { build } from 'esbuild';
import { globSync } from './glob.mjs';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

async function transpile(base, folders, outdir, change = (_, text) => text) {
  const entryPoints = folders.flatMap((f) => globSync(join(base, f), '.ts')).filter((f) => !f.endsWith('/kernels/src/gradients.ts'));
  const { outputFiles } = await build({
    entryPoints, outdir, outbase: base, write: false, bundle: false, logLevel: 'warning',
    format: 'esm', platform: 'node', target: 'node20', sourcemap: 'inline', sourcesContent: false,
  });
  for (const { path, text } of outputFiles) writeIfChanged(path, change(path, text));
}

/** TensorFlow.js's gradients, whose modules only a bundler can load. */
async function bundleGradients(kernels) {
  const { outputFiles } = await build({
    entryPoints: [join(kernels, 'src/gradients.ts')], outfile: join(kernels, 'dist/src/gradients.js'), write: false, bundle: true,
    mainFields: ['module', 'main'], ignoreAnnotations: true, logLevel: 'error', format: 'esm', platform: 'node', target: 'node20', minify: true,
    external: ['node-fetch', 'util', 'string_decoder', 'crypto'],
  });
  for (const { path, text } of outputFiles) writeIfChanged(path, text);
}

/** Leaves unchanged files alone and renames whole ones into place, so that a running graft never reads half a file. */
function writeIfChanged(path, text) {
  try { if (readFileSync(path, 'utf8') === text) return; } catch { /* new file */ }
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.${process.pid}`, text);
  renameSync(`${path}.${process.pid}`, path);
}

/**
 * What is installed from a tarball has no workspaces: the kernels, a package of their own in the sources, are named there by path.
 * (Here both names lead to the same file.)
 */
function kernelsByPath(path, text) {
  const entries = JSON.parse(readFileSync(join(root, 'kernels/package.json'), 'utf8')).exports;
  return text.replace(/(["'])@graft\/kernels(\/\w+)?\1/g, (_, quote, entry = '') =>
    quote + relative(dirname(path), join(root, 'kernels', entries[`.${entry}`].default)) + quote);
}

await transpile(root, ['src', 'test'], join(root, 'dist'), kernelsByPath);
await transpile(join(root, 'kernels'), ['src', 'test'], join(root, 'kernels/dist'));
await bundleGradients(join(root, 'kernels'));
