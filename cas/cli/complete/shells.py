"""The shells whose lines are completed: the script that each loads, and how it is answered.

The scripts hand over the line up to the cursor as it was typed. Python splits it into words, since bash would
also split at `:` and `@`, and so tear `minilm:latest` apart.
"""

from __future__ import annotations

import os
from typing import ClassVar

from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

MARK = "# Completion of cas, of model-cas"
"""The first line of every script: `cas completion --install` overwrites files that begin so, and no others."""

_BASH = """\
_cas_completion() {
    local IFS=$'\\n' cur=${COMP_WORDS[COMP_CWORD]} line type value found
    [[ $cur == [:=@] ]] && cur=
    COMPREPLY=()
    found=$(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null </dev/null)
    for line in $found; do
        type=${line%%%%,*} value=${line#*,}
        case $type in
            plain) COMPREPLY+=("$value") ;;
            part) COMPREPLY+=("$value"); compopt -o nospace 2>/dev/null ;;
            file) COMPREPLY+=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null ;;
            dir) COMPREPLY+=($(compgen -d -- "$cur")); compopt -o filenames 2>/dev/null ;;
        esac
    done
}
complete -o nosort -F _cas_completion cas 2>/dev/null || complete -F _cas_completion cas
"""

_ZSH = """\
#compdef cas
_cas_completion() {
    local type value help
    local -a response names described parts
    response=("${(@f)$(COMP_WORDS="${(j: :)words[1,CURRENT]}" \\
        %(complete_var)s=zsh_complete $words[1] 2>/dev/null </dev/null)}")
    [[ $words[CURRENT] == --*=* ]] && compset -P '*='
    for type value help in $response; do
        case $type in
            plain)
                if [[ $help == _ ]]; then names+=("$value"); else described+=("${value//:/\\\\:}:$help"); fi ;;
            part) parts+=("$value") ;;
            file) _path_files -f ;;
            dir) _path_files -/ ;;
        esac
    done
    (( $#described )) && _describe -V values described -U
    (( $#names )) && compadd -U -V names -a names
    (( $#parts )) && compadd -U -S '' -V parts -a parts
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _cas_completion "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _cas_completion cas
fi
"""

_FISH = """\
function _cas_completion
    set -l line (commandline -cp | string collect)
    set -l option (commandline -ct | string match -r '^--[^=]*=')
    set -l response (COMP_WORDS=$line %(complete_var)s=fish_complete cas 2>/dev/null </dev/null)
    for answer in $response
        set -l parts (string split -m 1 , -- $answer)
        switch $parts[1]
            case plain part
                echo $parts[2]
            case file
                string replace -r '^' -- "$option" (__fish_complete_path $parts[2])
            case dir
                string replace -r '^' -- "$option" (__fish_complete_directories $parts[2])
        end
    end
end
complete --no-files --keep-order --command cas --arguments '(_cas_completion)'
"""


class _Shell(ShellComplete):
    """What the three shells have in common."""

    script: ClassVar[str]

    def source(self) -> str:
        first, _, rest = self.script.partition("\n")
        head = (first, MARK, rest) if first.startswith("#") else (MARK, self.script)
        return "\n".join(head) % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)
        is_open = bool(words) and not (line[-1:].isspace() and not line.endswith("\\ "))
        incomplete = words.pop() if is_open and len(words) > 1 else ""
        return words[1:], incomplete

    @property
    def option(self) -> str:
        """`--option=`, where the word that is typed begins so."""
        _, word = self.get_completion_args()
        name, equals, _ = word.partition("=")
        return name + equals if equals and name.startswith("--") else ""


class _Bash(_Shell):
    name, script = "bash", _BASH

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._done(item.value) :]}"

    def _done(self, value: str) -> int:
        """How much of a value bash takes for words of their own, which stand on the line already."""
        line, breaks = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_BREAKS", "")
        typed = self.get_completion_args()[1].removeprefix(self.option)
        if line[: len(line) - len(typed)].endswith(("'", '"')) or not value.startswith(typed):
            return 0  # bash does not split inside quotes
        # readline leaves the @ to the word that it begins: it may be a host's name.
        return max([typed.rfind(sign) + (sign != "@") for sign in ":@=" if sign in breaks and sign in typed], default=0)


class _Zsh(_Shell):
    name, script = "zsh", _ZSH

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\n{item.value}\n{item.help or '_'}"


class _Fish(_Shell):
    name, script = "fish", _FISH

    def format_completion(self, item: CompletionItem) -> str:
        prefix = self.option if item.type in ("plain", "part") else ""
        return f"{item.type},{prefix}{item.value}" + (f"\t{item.help}" if item.help else "")


SHELLS: dict[str, type[_Shell]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
"""By the name of the shell's program."""
