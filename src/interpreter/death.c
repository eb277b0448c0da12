/* SPDX-License-Identifier: Apache-2.0 */
/* Wording of a kernel's end. */
#include "interpreter/death.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/oom_kills.h"

static struct oom_kills kills = {.fd = -1};

void death_setup(int fd)
{
    oom_kills_init(&kills, fd);
}

void death_look(void)
{
    oom_kills_look(&kills, clock_mono_ns());
}

void death_describe(int status, struct str last_words, char ret[DEATH_TEXT_SIZE])
{
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const char *between = last_words.len ? ": " : "";
    size_t most = DEATH_TEXT_SIZE - 128;
    if (last_words.len > most)
        last_words.len = most;
    if (sig == SIGKILL && oom_kills_claim(&kills, clock_mono_ns()))
        snprintf(ret, DEATH_TEXT_SIZE, "out of memory: the kernel was killed (signal 9)");
    else if (sig)
        snprintf(ret, DEATH_TEXT_SIZE, "The kernel was ended by signal %d (%s)", sig,
                 strsignal(sig));
    else
        snprintf(ret, DEATH_TEXT_SIZE, "The kernel ended with status %d%s%.*s", WEXITSTATUS(status),
                 between, STR_ARG(last_words));
}
