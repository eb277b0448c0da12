/* SPDX-License-Identifier: Apache-2.0 */
/* Logging to stderr: one line an event, "time level event key=value ...".
 *
 * Only programs log (agent, launcher, server, cli), once, where the decision is made; libraries
 * return errors. errno survives a call. Never log a secret. */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* The name of the process in each line, and the least severe level that is printed. */
void log_setup(const char *program, enum log_level least);
void log_write(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* fmt yields the key=value part, e.g. log_info("sandbox started", "id=%s ms=%lld", id, ms). */
#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_warning(event, ...) log_write(LOG_WARNING, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)
