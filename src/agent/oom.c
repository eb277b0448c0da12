/* SPDX-License-Identifier: Apache-2.0 */
/* Who goes first when memory runs out.
 *
 * The score is set from outside, right after the exec. Before it the process shares our memory,
 * which is not dumpable, so that its files in /proc are out of reach even to itself; and we cannot
 * take the higher score for the time of the clone, because nobody in here may lower it again. */
#include "agent/oom.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum {
    DEPTH_MAX = 8,
    CHILDREN_BYTES = 512, /* of children's pids: there are hardly ever any */
};

static const char score[] = "100";

static void expose(pid_t pid, int depth)
{
    char path[64], list[CHILDREN_BYTES];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    if (fd_write_file(AT_FDCWD, path, score) < 0 || depth == DEPTH_MAX)
        return;
    /* Whom it forked in the microseconds before has our own score still. */
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof list);
    struct str rest = {list, n > 0 ? (size_t)n : 0}, word;
    uint64_t child;
    while (rest.len && str_split(&rest, ' ', &word))
        if (str_to_u64(word, INT32_MAX, &child) == 0 && child > 0)
            expose((pid_t)child, depth + 1);
}

void oom_expose(pid_t pid)
{
    expose(pid, 0);
}
