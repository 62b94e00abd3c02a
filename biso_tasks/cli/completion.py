"""Completion in the shell: the scripts that `--print-completion-script` prints, and what they ask
for, `--complete -- WORDS`. What was typed is the program that is asked, `./biso` as well as `biso`.
invoke's own scripts ask one program by name, and offer tasks where an option wants a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from invoke.collection import Collection
from invoke.parser.context import ParserContext

from biso_tasks.config.model import Site

__all__ = ["SCRIPTS", "candidates"]

_BASH: Final = r"""# bash completion of biso
_biso() {
    local word=${COMP_WORDS[COMP_CWORD]} IFS=$'\n'
    # readline takes the = of --env=prod for a word
    [ "$word" != = ] || word=
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]/#\~/$HOME}" --complete -- \
        "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null </dev/null)" -- "$word"))
}
# by its last part, ./biso is biso; files where there is nothing to say
complete -o bashdefault -o default -F _biso biso
"""
_ZSH: Final = r"""#compdef biso
# zsh completion of biso
_biso() {
    local program=${(Q)words[1]/#\~/$HOME}
    local -a found
    found=(${(f)"$($program --complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null </dev/null)"})
    if (( $#found )); then
        compadd -a found
    else
        _files
    fi
}
if (( ! $+functions[compdef] )); then
    autoload -Uz compinit && compinit
fi
if [[ ${funcstack[1]-} == _biso ]]; then
    _biso "$@"
else
    compdef _biso biso
fi
"""
_FISH: Final = r"""# fish completion of biso
function __biso_complete
    set -l words (commandline -opc)
    set -l found (eval $words[1] --complete -- (string escape -- $words[2..-1] (commandline -ct)) \
        2>/dev/null </dev/null)
    if test (count $found) -gt 0
        string join \n -- $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command biso --no-files --arguments '(__biso_complete)'
"""
SCRIPTS: Final = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}
"""The script of each shell."""

_ENVIRONMENT: Final = ("--env", "--from", "--to", "--on", "--confirm")


def candidates(
    words: Sequence[str], tasks: Collection, core: ParserContext, site: Site | None
) -> list[str]:
    """What the last of `words` may become: options, tasks, environments or sources; nothing where
    it is a file or a text. The words before it begin after the program; `core` has the program's
    own options."""
    *before, current = [word for word in words if word != "="] or [""]
    if words and words[-1] == "=":
        before, current = [*before, current], ""
    name = _task(before, tasks)
    own = core if name is None else ParserContext(name, args=tasks[name].get_arguments())
    joined = ""
    if current.startswith("--") and "=" in current:
        option, _, current = current.partition("=")
        before, joined = [*before, option], f"{option}="
    if before and _takes_value(own, before[-1]):
        found = _values(own, before[-1], tasks, site)
    elif current.startswith("-"):
        found = sorted(own.flag_names())
    else:
        found = sorted(tasks.task_names) if name is None else []
    return [joined + one for one in found if one.startswith(current)]


def _task(before: Iterable[str], tasks: Collection) -> str | None:
    return next((word for word in before if word in tasks.task_names), None)


def _takes_value(context: ParserContext, word: str) -> bool:
    return word in context.flags and bool(context.flags[word].takes_value)


def _values(context: ParserContext, option: str, tasks: Collection, site: Site | None) -> list[str]:
    # a short one is known by its long one
    long = {f"--{one.replace('_', '-')}" for one in context.flags[option].names}
    if "--print-completion-script" in long:
        return sorted(SCRIPTS)
    if "--help" in long:
        return sorted(tasks.task_names)
    if site is None:
        return []
    if "--source" in long:
        return sorted(set(site.refresh.sources_allowed) - {"set"})
    if long & set(_ENVIRONMENT):
        return [one.name for one in site.environments]
    return []
