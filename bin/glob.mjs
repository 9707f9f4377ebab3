import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** All files below `dir` whose name ends with `suffix`, sorted; none where the folder is missing. */
export function globSync(dir, suffix) {
  let entries;
  try { entries = readdirSync(dir, { withFileTypes: true }); } catch { return []; }
  return entries
    .flatMap((e) => (e.isDirectory() ? globSync(join(dir, e.name), suffix) : e.name.endsWith(suffix) ? [join(dir, e.name)] : []))
    .sort();
}
