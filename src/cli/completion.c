/* SPDX-License-Identifier: Apache-2.0 */
/* carrel completion: what bash, zsh and fish need to know, from the table of commands. Names of
 * sandboxes are asked for when they are needed. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

/* Ids and names; nothing when there is no server. */
#define SANDBOXES                                                             \
    "carrel ls --json 2>/dev/null | sed -n 's/.*\"\\(sandboxID\\|name\\)\": " \
    "\"\\([^\"]\\{1,\\}\\)\".*/\\2/p'"
#define TEMPLATES \
    "carrel template --json 2>/dev/null | sed -n 's/.*\"templateID\": \"\\([^\"]*\\)\".*/\\1/p'"

static void print_names(void)
{
    for (const struct command *c = commands; c->name; c++)
        printf("%s ", c->name);
    printf("help version");
}

static void print_options(const struct command *c, bool with_value)
{
    for (const struct command_option *o = c->options; o && o->name; o++)
        if (!with_value || o->value) {
            printf("--%s ", o->name);
            if (o->letter && with_value)
                printf("-%c ", o->letter);
        }
    if (!with_value)
        printf("--help");
}

/* ---- bash ---- */

static void print_bash(void)
{
    printf("# bash completion for carrel; source it, or put it into "
           "/usr/share/bash-completion/completions/carrel\n"
           "_carrel() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} "
           "command=${COMP_WORDS[1]:-}\n"
           "    local options= values= operand= rest= place=0 i kind\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '");
    print_names();
    printf("' -- \"$word\"))\n        return\n    fi\n    case $command in\n");
    for (const struct command *c = commands; c->name; c++) {
        if (c->run == command_completion)
            continue;
        printf("    %s) options='", c->name);
        print_options(c, false);
        printf("' values=' ");
        print_options(c, true);
        printf("' operand=%d rest=%d ;;\n", c->words[0], c->words[1]);
    }
    printf("    help) COMPREPLY=($(compgen -W '");
    print_names();
    printf("' -- \"$word\")); return ;;\n"
           "    completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\")); return ;;\n"
           "    esac\n"
           "    case $before in --template|-t) [ \"$command\" = create ] &&\n"
           "        COMPREPLY=($(compgen -W \"$(" TEMPLATES ")\" -- \"$word\")) && return ;; esac\n"
           "    case \"$values\" in *\" $before \"*) return ;; esac\n"
           "    case $word in -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")); return ;; "
           "esac\n"
           "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
           "        case \"$values\" in *\" ${COMP_WORDS[i]} \"*) i=$((i + 1)); continue ;; esac\n"
           "        case ${COMP_WORDS[i]} in -*) ;; *) place=$((place + 1)) ;; esac\n"
           "    done\n"
           "    kind=$rest\n    [ $place -gt 0 ] || kind=$operand\n"
           "    case $kind in\n"
           "    %d) COMPREPLY=($(compgen -W \"$(" SANDBOXES ")\" -- \"$word\")) ;;\n"
           "    %d) COMPREPLY=($(compgen -f -- \"$word\") $(compgen -S : -W \"$(" SANDBOXES
           ")\" -- \"$word\")) ;;\n"
           "    %d) COMPREPLY=($(compgen -W \"$(" TEMPLATES ")\" -- \"$word\")) ;;\n"
           "    esac\n}\ncomplete -F _carrel carrel\n",
           COMMAND_SANDBOX, COMMAND_LOCAL_FILE, COMMAND_TEMPLATE);
}

/* ---- zsh ---- */

/* Inside single quotes and _arguments' brackets. */
static void print_quoted(const char *text)
{
    for (; *text; text++)
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
}

static const char *zsh_action(enum command_word word)
{
    static const char *const actions[] = {[COMMAND_TEXT] = "_message argument",
                                          [COMMAND_SANDBOX] = "_carrel_sandboxes",
                                          [COMMAND_LOCAL_FILE] = "_files",
                                          [COMMAND_TEMPLATE] = "_carrel_templates"};
    return actions[word];
}

static void print_zsh_option(const struct command_option *o)
{
    for (int form = 0; form < (o->letter ? 2 : 1); form++) {
        printf(" \\\n            '*");
        if (form == 0)
            printf("--%s", o->name);
        else
            printf("-%c", o->letter);
        printf("[");
        print_quoted(o->help);
        printf("]");
        if (o->value) {
            printf(":");
            print_quoted(o->value);
            printf(":%s", o->word == COMMAND_TEXT ? "" : zsh_action(o->word));
        }
        printf("'");
    }
}

static void print_zsh(void)
{
    printf("#compdef carrel\n# zsh completion for carrel; put it into a directory of $fpath as "
           "_carrel\n"
           "_carrel_sandboxes() {\n    local -a found\n    found=(${(f)\"$(" SANDBOXES
           ")\"})\n    compadd -a found\n}\n"
           "_carrel_templates() {\n    local -a found\n    found=(${(f)\"$(" TEMPLATES
           ")\"})\n    compadd -a found\n}\n"
           "_carrel() {\n    local -a names\n    names=(\n");
    for (const struct command *c = commands; c->name; c++) {
        printf("        '%s:", c->name);
        print_quoted(c->summary);
        printf("'\n");
    }
    printf(
        "        'help:tell about a command'\n    )\n"
        "    if ((CURRENT == 2)); then\n        _describe command names\n        return\n    fi\n"
        "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n");
    for (const struct command *c = commands; c->name; c++) {
        printf("    %s)\n        _arguments '--help[print help]'", c->name);
        for (const struct command_option *o = c->options; o && o->name; o++)
            print_zsh_option(o);
        printf(" \\\n            '1:operand:%s' '*:operand:%s' ;;\n", zsh_action(c->words[0]),
               zsh_action(c->words[1]));
    }
    printf("    help) _describe command names ;;\n    esac\n}\n_carrel \"$@\"\n");
}

/* ---- fish ---- */

static const char *fish_action(enum command_word word)
{
    static const char *const actions[] = {[COMMAND_TEXT] = NULL,
                                          [COMMAND_SANDBOX] = "(__carrel_sandboxes)",
                                          [COMMAND_LOCAL_FILE] = NULL,
                                          [COMMAND_TEMPLATE] = "(__carrel_templates)"};
    return actions[word];
}

static void print_fish_text(const char *text)
{
    for (; *text; text++)
        if (*text == '\'' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar(*text);
}

static void print_fish_command(const struct command *c)
{
    printf("complete -c carrel -n __fish_use_subcommand -f -a %s -d '", c->name);
    print_fish_text(c->summary);
    printf("'\n");
    for (const struct command_option *o = c->options; o && o->name; o++) {
        printf("complete -c carrel -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
        if (o->letter)
            printf(" -s %c", o->letter);
        if (o->value)
            printf(" -x");
        if (o->value && fish_action(o->word))
            printf(" -a '%s'", fish_action(o->word));
        printf(" -d '");
        print_fish_text(o->help);
        printf("'\n");
    }
    if (fish_action(c->words[0]))
        printf("complete -c carrel -n '__fish_seen_subcommand_from %s' -f -a '%s'\n", c->name,
               fish_action(c->words[0]));
}

static void print_fish(void)
{
    printf("# fish completion for carrel; put it into ~/.config/fish/completions/carrel.fish\n"
           "function __carrel_sandboxes\n    " SANDBOXES "\nend\n"
           "function __carrel_templates\n    " TEMPLATES "\nend\n");
    for (const struct command *c = commands; c->name; c++)
        print_fish_command(c);
    printf("complete -c carrel -n '__fish_seen_subcommand_from help' -f -a '");
    print_names();
    printf("'\ncomplete -c carrel -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh "
           "fish'\n");
}

int command_completion(int argc, char **argv)
{
    const char *shell = argc == 2 ? argv[1] : "";
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (strcmp(shell, "fish") == 0)
        print_fish();
    else {
        bool asked = strcmp(shell, "--help") == 0;
        fprintf(asked ? stdout : stderr,
                "usage: carrel completion bash|zsh|fish\n\nPrints completion for a shell, such as "
                "in ~/.bashrc:\n\n    source <(carrel completion bash)\n");
        return asked ? 0 : 2;
    }
    return 0;
}
