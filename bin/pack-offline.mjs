// npm run pack:offline: one tar.gz that runs where there is Node and nothing else - no network, no npm, no compiler. It holds what
// npm pack holds, the packages graft needs, the addon for all instruction sets, the manual and the completions; and, for a machine with
// an NVIDIA GPU, bin/graft-test-gpu and bin/graft-bench-gpu: what npm run test:gpu and bench:gpu do in a checkout.
//   node bin/pack-offline.mjs [--node FILE] [FOLDER]     where the archive goes; default: here. Prints its path.
//   --node FILE   takes this node executable along (with the LICENSE beside its folder): then not even that has to be there
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: { node }, positionals } = parseArgs({ options: { node: { type: 'string' } }, allowPositionals: true });
const target = resolve(positionals[0] ?? '.');
if (node && !existsSync(node)) {
  console.error(`pack:offline: --node ${node}: there is no such file`);
  process.exit(1);
}
const run = (program, args, options = {}) => execFileSync(program, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], ...options });

/** What the conformance suite runs in. */
const TESTED_WITH = ['node_modules/jasmine-core'];

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const name = `graft-${version}-${process.platform}-${process.arch}`;
const work = mkdtempSync(join(tmpdir(), 'graft-pack-'));
try {
  const stage = join(work, name), graft = join(stage, 'lib/graft');
  mkdirSync(graft, { recursive: true });
  const packed = run('npm', ['pack', '--silent', '--pack-destination', work]).trim().split('\n').at(-1);
  run('tar', ['-xzf', join(work, packed), '-C', graft, '--strip-components=1']);
  copyPackages(join(graft, 'node_modules'));
  copyTests(graft);
  rmSync(join(graft, 'kernels/cpu'), { recursive: true }); // nothing is compiled there
  cpSync(join(graft, 'man'), join(stage, 'share/man/man1'), { recursive: true });
  mkdirSync(join(stage, 'bin'));
  for (const [command, file] of Object.entries({ graft: 'graft.js', 'graft-test-gpu': 'test-gpu.mjs', 'graft-bench-gpu': 'bench-gpu.mjs' })) {
    writeFileSync(join(stage, 'bin', command), launcher(file));
    chmodSync(join(stage, 'bin', command), 0o755);
  }
  if (node) copyNode(node, join(stage, 'lib/node'));
  for (const [shell, path] of Object.entries({ bash: 'bash-completion/completions/graft', zsh: 'zsh/site-functions/_graft', fish: 'fish/vendor_completions.d/graft.fish' })) {
    const file = join(stage, 'share', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, run(process.execPath, [join(graft, 'bin/graft.js'), 'completion', shell]));
  }
  const archive = join(target, `${name}.tar.gz`);
  run('tar', ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0', '-C', work, '-cf', join(work, 'all.tar'), name]);
  run('gzip', ['-9', '-n', join(work, 'all.tar')]);
  cpSync(join(work, 'all.tar.gz'), archive);
  console.log(archive);
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** The installed packages that are not for development alone, each without what is for reading or for compilers. */
function copyPackages(to) {
  const { packages } = JSON.parse(readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8'));
  const idle = /\.(map|ts|mts|cts|md|markdown|flow)$/;
  for (const [path, { dev, link }] of Object.entries(packages)) {
    if ((dev && !TESTED_WITH.includes(path)) || link || !path.startsWith('node_modules/') || /(^|\/)@types\//.test(path) || !existsSync(join(root, path))) continue;
    const from = join(root, path);
    cpSync(from, join(dirname(to), path), {
      recursive: true,
      // Packages within packages have lines of their own.
      filter: (file) => !(basename(file) === 'node_modules' && file !== from) && (lstatSync(file).isDirectory() || !idle.test(file)),
    });
  }
  if (!readdirSync(to).includes('yargs')) throw new Error('node_modules is incomplete: npm ci');
}

/** The built tests and the benchmark for GPUs, with what they read. */
function copyTests(graft) {
  run(process.execPath, [join(root, 'bin/conformance.mjs'), '--bundle']);
  const paths = [
    'bin/test-gpu.mjs', 'bin/bench-gpu.mjs', 'bin/conformance.mjs', 'kernels/dist/conformance-suite.js', 'kernels/dist/test', 'dist/test/cuda.test.js', 'dist/test/support', 'dist/test/bench',
    'test/bench', 'test/golden/codes.json', 'test/golden/tta.py', 'fixtures/resnet', 'fixtures/encoder', // tta.py: CoTTA's peer
  ];
  for (const path of paths) cpSync(join(root, path), join(graft, path), { recursive: true, filter: (file) => !/__pycache__|test\/bench\/results/.test(file) });
}

function copyNode(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(realpathSync(from), to);
  chmodSync(to, 0o755);
  const license = join(dirname(realpathSync(from)), '../LICENSE');
  if (existsSync(license)) cpSync(license, `${to}.LICENSE`);
}

function launcher(file) {
  return `#!/bin/sh
# Runs graft's ${file} from wherever this folder lies; links to this file work too.
self=$0
while [ -L "$self" ]; do
  to=$(readlink "$self")
  case $to in /*) self=$to ;; *) self=\${self%/*}/$to ;; esac
done
lib=\${self%/*}/../lib
node=$lib/node
if [ ! -x "$node" ]; then
  if ! command -v node >/dev/null; then
    echo 'graft: node is not on the path; Node 20.19 or later is needed' >&2
    exit 1
  fi
  node=node
fi
exec "$node" "$lib/graft/bin/${file}" "$@"
`;
}
