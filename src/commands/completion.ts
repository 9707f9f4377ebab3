import { usageError } from '../errors.js';
import type { Command } from './command.js';

const SHELLS = ['bash', 'zsh', 'fish'];

const command: Command = {
  name: 'completion',
  summary: 'print a completion script for a shell',
  description: [
    'Prints a script that completes commands, options, their values (methods with what they do, metrics, the columns of the data on the line) and file names. The script asks graft itself, so that it never falls behind.',
    'bash: into ~/.local/share/bash-completion/completions/graft, or eval "$(graft completion bash)". zsh: into a file _graft in a folder of $fpath. fish: into ~/.config/fish/completions/graft.fish.',
  ],
  operands: { usage: 'SHELL', describe: `one of ${SHELLS.join(', ')}`, suggest: async () => SHELLS },
  options: {},
  examples: [
    { does: 'for this bash', command: 'eval "$(graft completion bash)"' },
    { does: 'for every fish to come', command: 'graft completion fish > graft.fish' },
  ],
  async run(args) {
    const [shell] = args._;
    if (args._.length !== 1 || !SHELLS.includes(shell)) throw usageError(`completion takes one shell: ${SHELLS.join(', ')}`);
    const { writeOutput } = await import('../formats/output.js');
    await writeOutput(undefined, (out) => out.write(SCRIPTS[shell]), { text: true });
  },
};

export default command;

/** Each asks `graft __complete SHELL WORD...`; words that end in = or , get no space after them. */
const SCRIPTS: Record<string, string> = {
  bash: `# bash completion of graft
_graft() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) compopt -o default 2>/dev/null ;;
      *[=,]) COMPREPLY+=("$line"); compopt -o nospace 2>/dev/null ;;
      *) COMPREPLY+=("$line") ;;
    esac
  done < <("$1" __complete bash "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _graft graft
`,
  zsh: `#compdef graft
_graft() {
  local line word files=0
  local -a ready open
  for line in "\${(@f)$("$words[1]" __complete zsh "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] || continue
    if [[ $line == :files ]]; then files=1; continue; fi
    word=\${line%%$'\\t'*}
    line="\${word//:/\\\\:}:\${line#*$'\\t'}"
    if [[ $word == *[=,] ]]; then open+=("$line"); else ready+=("$line"); fi
  done
  (( \${#ready} )) && _describe graft ready
  (( \${#open} )) && _describe graft open -S ''
  (( files )) && { compset -P '--*='; _files }
}
if [[ $funcstack[1] == _graft ]]; then _graft "$@"; else compdef _graft graft; fi
`,
  fish: `# fish completion of graft
function __graft_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete fish $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c graft -f -a '(__graft_complete)'
`,
};
