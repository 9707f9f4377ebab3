import { corruptTable } from '../../data/corrupt-table.js';
import { corruptionsOf, kindNames, parseSeverities } from '../../data/corruptions/registry.js';
import { loadFrost } from '../../data/corruptions/frost-photographs.js';
import { parseSize } from '../../data/import/images.js';
import { writeTable } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { openInput } from './rows.js';
import type { Operation } from './operation.js';

const operation: Operation = {
  name: 'corrupt',
  summary: 'the common corruptions of Hendrycks and Dietterich (2019) on the column image',
  operands: '[FILE]',
  options: {
    kind: { type: 'string', metavar: 'NAME,...', describe: `which: ${kindNames().join(', ')}; one domain after another`, default: 'standard15', suggest: async () => kindNames() },
    severity: { type: 'string', metavar: 'N,...', describe: '1 to 5; several as 1,3,5 or 1-5', default: '5' },
    constants: { type: 'string', describe: 'those of CIFAR-10-C (32×32) or ImageNet-C (224×224); auto: by whether the shorter side is over 64', choices: ['auto', 'cifar', 'imagenet'], default: 'auto' },
    size: { type: 'string', metavar: 'H[,W]', describe: 'resize encoded pictures to this first; without it all must have one size' },
    frostDir: { type: 'string', metavar: 'DIR', describe: 'photographs of frost; without them frost is procedural, which the schema notes' },
    glass: { type: 'string', describe: 'glass_blur copies pixels as the published generator does, or swaps them as it meant to', choices: ['copy', 'swap'], default: 'copy' },
  },
  async run(args) {
    const corruptions = corruptionsOf(args.kind), severities = parseSeverities(args.severity);
    if (severities.length === 0) throw usageError(`--severity ${args.severity}: names no severity`);
    const table = await openInput(args);
    const flow = await corruptTable(table, {
      corruptions, severities, seed: args.seed, glass: args.glass, size: parseSize(args.size), rereadable: args._.length > 0 && args._[0] !== '-',
      scale: args.constants === 'auto' ? undefined : args.constants,
      frost: args.frostDir ? await loadFrost(args.frostDir) : undefined,
    });
    await writeTable(args.output, flow.schema, flow.batches);
  },
};

export default operation;
