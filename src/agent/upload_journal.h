/* SPDX-License-Identifier: Apache-2.0 */
/* Which temporary names of uploads exist just now, in memory that outlives the agent's process: init
 * makes it before it forks the agent, so the next agent can remove what a killed one left. No file
 * is needed, and a page of it is only taken once it is written. */
#pragma once

/* Makes the journal; every process forked from here on shares it. Without this call the others do
 * nothing. */
void upload_journal_open(void);
/* Its memory file, -1 for none; and the journal of such a file, in an agent that is another program
 * than init. */
int upload_journal_fd(void);
void upload_journal_adopt(int fd);
/* Notes a path that is about to be created. A slot for upload_journal_forget, or -1. */
int upload_journal_note(const char *path);
void upload_journal_forget(int slot);
/* Removes what an earlier process noted and did not forget. At the agent's start, before it serves. */
void upload_journal_sweep(void);
