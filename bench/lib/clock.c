/* SPDX-License-Identifier: Apache-2.0 */
/* Times single operations against a running server and against other ways to start the same
 * command, in turn, so that a noisy moment hits all of them alike. Prints one line per sample:
 * name, nanoseconds, 1 if it worked. Says nothing about statistics: bench/measure.py does.
 *
 * usage: clock HOST PORT KEY ROUNDS < contestants
 *
 * A contestant is a line of words separated by tabs: a name, a kind, and what the kind wants.
 *   spawn   ARGV...     start a program on this host and wait for its end
 *   create  ARGV...     make a sandbox, run the program in it, see its end; then kill it. The first
 *                       and the last step are also samples of their own, NAME:made and NAME:kill
 *   rested  ARGV...     as create, but after a rest in which the server can refill its pools
 *   exec    ARGV...     run the program in a sandbox that is there already
 *   get     PATH        download a file of that sandbox
 *   put     PATH SIZE   upload so many bytes to it
 *   health              the shortest request that reaches the agent
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "client.h"

enum { WORDS_MAX = 64, CONTESTANTS_MAX = 32, REST_MS = 60 };

extern char **environ;

struct contestant {
    char *words[WORDS_MAX + 1]; /* name, kind, arguments, NULL */
};

static bool spawn(char **argv)
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void sample(const char *name, const char *suffix, int64_t start, bool ok)
{
    printf("%s%s\t%lld\t%d\n", name, suffix, (long long)(now() - start), ok);
}

static void measure(const struct contestant *t, struct connection *c, const struct sandbox *kept)
{
    static char answer[BODY_KEPT];
    const char *name = t->words[0], *kind = t->words[1];
    char **arguments = (char **)t->words + 2;
    if (strcmp(kind, "rested") == 0)
        nanosleep(&(struct timespec){0, REST_MS * 1000000}, NULL);
    int64_t start = now();
    if (strcmp(kind, "spawn") == 0) {
        bool ok = spawn(arguments);
        sample(name, "", start, ok);
    } else if (strcmp(kind, "create") == 0 || strcmp(kind, "rested") == 0) {
        struct sandbox s;
        bool made = sandbox_create(c, &s);
        int64_t answered = now() - start;
        bool ok = made && sandbox_run(c, &s, arguments);
        sample(name, "", start, ok);
        sample(name, ":made", now() - answered, made);
        start = now();
        if (made) {
            ok = sandbox_kill(c, &s);
            sample(name, ":kill", start, ok);
        }
    } else if (strcmp(kind, "exec") == 0) {
        bool ok = sandbox_run(c, kept, arguments);
        sample(name, "", start, ok);
    } else if (strcmp(kind, "get") == 0 || strcmp(kind, "put") == 0) {
        bool ok = sandbox_file(c, kept, arguments, kind[0] == 'p');
        sample(name, "", start, ok);
    } else if (strcmp(kind, "health") == 0) {
        char head[1024];
        inside(head, sizeof head, kept, "GET", "/health", "text/plain");
        bool ok = request(c, head, "", 0, answer) == 204;
        sample(name, "", start, ok);
    } else {
        errno = EINVAL;
        die(kind);
    }
}

static size_t read_contestants(struct contestant *list)
{
    size_t count = 0, size = 0;
    char *text = NULL;
    for (ssize_t n; (n = getline(&text, &size, stdin)) > 0; text = NULL, size = 0) {
        size_t words = 0;
        char *rest = text;
        text[strcspn(text, "\n")] = '\0';
        for (char *word; words < WORDS_MAX && (word = strsep(&rest, "\t"));)
            list[count].words[words++] = word;
        if (words < 2 || count == CONTESTANTS_MAX - 1) {
            errno = EINVAL;
            die("contestants");
        }
        count++;
    }
    free(text);
    return count;
}

int main(int argc, char **argv)
{
    static struct contestant list[CONTESTANTS_MAX];
    struct sandbox kept;
    int rounds;
    if (argc != 5 || sscanf(argv[4], "%d", &rounds) != 1) {
        fprintf(stderr, "usage: clock HOST PORT KEY ROUNDS < contestants\n");
        return 2;
    }
    client_open(argv + 1);
    struct connection *connection = connection_new(BLOCK);
    size_t count = read_contestants(list);
    if (!sandbox_create(connection, &kept)) {
        fprintf(stderr, "clock: the server makes no sandbox\n");
        return 1;
    }
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++)
            measure(&list[i], connection, &kept);
        fflush(stdout);
    }
    sandbox_kill(connection, &kept);
    return 0;
}
