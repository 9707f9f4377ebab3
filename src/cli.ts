import { commandSummaries, loadCommand } from './commands/registry.js';
import type { Arguments, Command } from './commands/command.js';
import { makeRule } from './dependencies.js';
import { EXIT, GraftError, ioError, inputError, usageError } from './errors.js';
import { leaveStdin } from './formats/input.js';
import { checkWritable, isStdout, refuseTerminal, writeOutput } from './formats/output.js';
import { kebab, type OptionSpecs } from './options.js';
import { versionText } from './version.js';

/** Runs one command line and sets the exit status; nothing is thrown. */
export async function main(argv: string[]): Promise<void> {
  // Whoever reads the messages may go away; the work goes on.
  process.stderr.on('error', () => undefined);
  const name = argv[0];
  try {
    await dispatch(name, argv.slice(1));
  } catch (e) {
    report(name, e);
  }
}

async function dispatch(name: string | undefined, rest: string[]): Promise<void> {
  if (name === '--version' || name === '-V') return print(await versionText());
  if (name === '--help' || name === '-h' || name === 'help') {
    if (rest[0] && name === 'help') return dispatch(rest[0], [...rest.slice(1), '--help']);
    return print(overview());
  }
  if (name === '__complete') return completeLine(rest);
  if (name === undefined) throw usageError(`no command given; graft --help lists them`);
  const command = await loadCommand(name);
  if (!command) {
    const { didYouMean } = await import('./suggest.js');
    throw usageError(`there is no command '${name}'${didYouMean(name, commandSummaries().map(([n]) => n)) || '; graft --help lists them'}`);
  }
  const { parseCommandLine } = await import('./command-line.js');
  const parsed = await parseCommandLine(command, rest);
  if ('help' in parsed) return print(parsed.help);
  await execute(command, parsed.args, parsed.specs);
}

async function execute(command: Command, args: Arguments, specs: OptionSpecs): Promise<void> {
  const { setProgress } = await import('./progress.js');
  setProgress(args.quiet ? 'none' : args.progress ?? 'auto');
  checkOutputs(command, args, specs);
  try {
    await command.run(args);
  } catch (error) {
    throw withAdvice(error, args, specs);
  }
  if (args.deps) await writeOutput(args.deps, (out) => out.write(makeRule(args.output)), { text: true });
  leaveStdin();
}

/** Options that make a run smaller, and when they are left to take. */
const SMALLER: [option: string, left: (value: unknown) => boolean, advice: string][] = [
  ['batchSize', (n) => n !== 1, '--batch-size'], ['maxLength', () => true, '--max-length'],
  ['gradientCheckpointing', (on) => !on, '--gradient-checkpointing'], ['precision', (p) => p !== 'bf16', '--precision bf16'],
];

/** Memory that did not suffice, with what of this command lowers it. */
function withAdvice(error: unknown, args: Arguments, specs: OptionSpecs): unknown {
  const short = error instanceof Error && /^(cuda: )?out of memory|^Array buffer allocation failed/.exec(error.message);
  if (!short) return error;
  const advice = SMALLER.filter(([name, left]) => specs[name] && left(args[name])).map(([, , text]) => text);
  const lower = advice.filter((a) => !/check|bf16/.test(a)), give = advice.filter((a) => /check|bf16/.test(a));
  const parts = [lower.length > 0 && `lower ${lower.join(' or ')}`, give.length > 0 && `give ${give.join(' or ')}`].filter(Boolean);
  const what = (error as Error).message.replace('Array buffer allocation failed', 'out of memory: an array does not fit');
  return new GraftError(parts.length > 0 ? `${what}: ${parts.join(', or ')}` : what, EXIT.failed, { cause: error });
}

/** What would end a long run when its result is there is said before it. */
function checkOutputs(command: Command, args: Arguments, specs: OptionSpecs): void {
  if (isStdout(args.output) && command.binary?.(args)) refuseTerminal();
  const users = new Map<string, string>();
  for (const name of Object.keys(specs).filter((n) => specs[n].writes && !isStdout(args[n]))) {
    const path: string = args[name], other = users.get(path);
    checkWritable(path);
    if (other && !path.startsWith('/dev/')) throw usageError(`--${kebab(other)} and --${kebab(name)} name the same file, ${path}`);
    users.set(path, name);
  }
  if (args.deps && isStdout(args.output) && (command.binary?.(args) ?? true)) throw usageError('--deps needs --output: make knows results by the names of their files');
}

/** For the scripts of `graft completion`. Whatever is wrong with the line, the shell gets no more than an empty answer. */
async function completeLine([shell, ...line]: string[]): Promise<void> {
  const { completionLines } = await import('./completion.js');
  await print(await completionLines(shell, line).catch(() => ''));
}

function overview(): string {
  const lines = commandSummaries().map(([name, summary]) => `  ${name.padEnd(14)}${summary}`);
  return `Usage: graft COMMAND [OPTION]... [FILE]...
Adapts pretrained models from the shell. Every command reads files or standard
input and writes files or standard output.

${lines.join('\n')}

  graft COMMAND --help                  its options
  graft COMMAND --method NAME --help    and those of a method
  man graft
`;
}

const print = (text: string): Promise<void> => writeOutput(undefined, (out) => out.write(text), { text: true });

/** One line on standard error, and the status that belongs to it. */
function report(name: string | undefined, thrown: unknown): void {
  const where = name && !name.startsWith('-') ? `graft ${name}` : 'graft';
  const error = explain(thrown);
  if (error instanceof GraftError) {
    if (error.message) process.stderr.write(`${where}: ${error.message.replaceAll('\n', ' ')}\n`);
    if (process.env.GRAFT_DEBUG && error.cause) console.error(error.cause);
    process.exitCode = error.status;
    return;
  }
  const message = error instanceof Error ? error.message.split('\n')[0] : String(error);
  process.stderr.write(`${where}: internal error: ${message} (GRAFT_DEBUG=1 shows where; please report it)\n`);
  if (process.env.GRAFT_DEBUG) console.error(error);
  process.exitCode = EXIT.failed;
}

/** Gives the operating system's errors their words and statuses. */
function explain(thrown: unknown): unknown {
  if (thrown instanceof GraftError || !(thrown instanceof Error)) return thrown;
  if (thrown.message.startsWith('cuda: ')) return new GraftError(thrown.message, EXIT.failed, { cause: thrown }); // the card, or what drives it
  const { code, path, syscall } = thrown as NodeJS.ErrnoException;
  const file = path ?? '';
  switch (code) {
    case 'ENOENT': return inputError(`${file}: no such file or directory`, thrown);
    case 'EACCES': case 'EPERM': return inputError(`${file}: permission denied`, thrown);
    case 'EISDIR': return inputError(`${file || 'input'}: is a directory`, thrown);
    case 'ENOTDIR': return inputError(`${file}: a part of the path is not a directory`, thrown);
    case 'ENOSPC': case 'EDQUOT': return ioError(`${file || 'output'}: no space left; nothing was written`, thrown);
    case 'EIO': case 'EROFS': case 'EMFILE': case 'EFBIG': return ioError(`${file || syscall}: ${code}`, thrown);
    default: return thrown;
  }
}
