/* SPDX-License-Identifier: Apache-2.0 */
/* All sandboxes of the server: by id, in order, and brought in line with what the launcher and the
 * store say, at start and whenever the launcher came back. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/str.h"

struct sandbox;
struct server;
struct sandbox_list;

struct sandbox_list *sandbox_list_new(struct server *server);
/* Frees the list and what is in it; the sandboxes themselves live on. */
void sandbox_list_free(struct sandbox_list *list);

void sandbox_list_add(struct sandbox_list *list, struct sandbox *sandbox);
void sandbox_list_remove(struct sandbox_list *list, struct sandbox *sandbox);
/* Any state; NULL when there is none. */
struct sandbox *sandbox_list_find(const struct sandbox_list *list, const char *id);
/* All, those being made or killed too: they take up room. */
size_t sandbox_list_count(const struct sandbox_list *list);
/* Walks all in order of appearance; the present one may be killed meanwhile. */
struct sandbox *sandbox_list_first(const struct sandbox_list *list);
struct sandbox *sandbox_list_next(const struct sandbox *sandbox);

/* Reads the store's rows into the list, unconfirmed. */
int sandbox_list_load(struct sandbox_list *list, struct err *err);
/* Asks the launcher what lives. Boxes that nobody knows are destroyed, sandboxes without a box are
 * removed, the others adopted. Calls server_adopted when through, tries again when it fails. */
void sandbox_list_reconcile(struct sandbox_list *list);
/* Has a box destroyed that is not in the list. */
void sandbox_list_destroy_stray(struct sandbox_list *list, const char *id);

/* Told once a reconciliation is through (server.c). */
void server_adopted(struct server *server);
