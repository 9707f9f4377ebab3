// After an installation from a tarball: where the native backend that came along does not run on this machine, builds one if there
// is a compiler; where there is none, graft runs on WebAssembly. Never fails an installation. A checkout builds by `npm run build`.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
if (!existsSync(join(root, 'src'))) {
  const { native } = await import('../kernels/dist/src/native.js');
  if (!native()) spawnSync('make', ['-s', '-C', join(root, 'kernels')], { stdio: 'inherit' });
}
