/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of temporary names. */
#include "agent/upload_journal.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tree.h"
#include "agent/upload.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

enum { SLOTS = 64 };
enum slot_state { FREE, CLAIMED, NOTED };

struct slot {
    atomic_int state;
    char path[PATH_MAX - sizeof(atomic_int)];
};

static struct slot *slots; /* shared with init and the agents before and after this one */
static int slots_fd = -1;

void upload_journal_open(void)
{
    if (slots)
        return;
    int fd = memfd_create("carrel-uploads", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, SLOTS * sizeof *slots) < 0)
        fd_closep(&fd);
    upload_journal_adopt(fd);
}

int upload_journal_fd(void)
{
    return slots_fd;
}

void upload_journal_adopt(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != SLOTS * (off_t)sizeof *slots)
        return;
    void *p = mmap(NULL, SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    slots = p == MAP_FAILED ? NULL : p;
    slots_fd = fd;
}

int upload_journal_note(const char *path)
{
    if (!slots || strlen(path) >= sizeof slots->path)
        return -1;
    for (int i = 0; i < SLOTS; i++) {
        int expected = FREE;
        if (!atomic_compare_exchange_strong(&slots[i].state, &expected, CLAIMED))
            continue;
        snprintf(slots[i].path, sizeof slots[i].path, "%s", path);
        atomic_store(&slots[i].state, NOTED);
        return i;
    }
    return -1;
}

void upload_journal_forget(int slot)
{
    if (slot >= 0)
        atomic_store(&slots[slot].state, FREE);
}

void upload_journal_sweep(void)
{
    /* Slots are taken lowest first: looking only as far as any was in use touches no fresh page
     * beyond one. */
    for (int i = 0; slots && i < SLOTS; i++) {
        if (slots[i].path[0] == '\0')
            break;
        if (atomic_load(&slots[i].state) == NOTED &&
            str_starts(path_base(str_from(slots[i].path)), STR(UPLOAD_TEMP_PREFIX)))
            tree_remove(slots[i].path, NULL);
        atomic_store(&slots[i].state, FREE);
    }
}
