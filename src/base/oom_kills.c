/* SPDX-License-Identifier: Apache-2.0 */
/* Counting out-of-memory kills. */
#include "base/oom_kills.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

/* How long after a kill its victim may be found: it must give up its memory first. */
enum { SOON_S = 5, RECENT_S = 2 };

static uint64_t count_now(const struct oom_kills *k)
{
    char text[512];
    ssize_t n = k->fd < 0 ? -1 : pread(k->fd, text, sizeof text, 0);
    struct str rest = {text, n > 0 ? (size_t)n : 0}, line, key;
    uint64_t count;
    while (rest.len && str_split(&rest, '\n', &line))
        if (str_split(&line, ' ', &key) && str_eqz(key, "oom_kill") && line.p &&
            str_to_u64(line, UINT64_MAX, &count) == 0)
            return count;
    return k->seen;
}

void oom_kills_init(struct oom_kills *k, int fd)
{
    *k = (struct oom_kills){.fd = fd};
    k->seen = count_now(k);
}

void oom_kills_look(struct oom_kills *k, int64_t now)
{
    uint64_t count = count_now(k);
    if (k->open && now - k->opened > SOON_S * CLOCK_S)
        k->open = 0; /* of processes that we know nothing of */
    if (count > k->seen) {
        k->open += count - k->seen;
        k->opened = now;
    }
    k->seen = count;
}

bool oom_kills_recent(const struct oom_kills *k, int64_t now)
{
    return k->opened && now - k->opened < RECENT_S * CLOCK_S;
}

bool oom_kills_claim(struct oom_kills *k, int64_t now)
{
    oom_kills_look(k, now);
    if (!k->open)
        return false;
    k->open--;
    return true;
}
