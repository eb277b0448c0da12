/* SPDX-License-Identifier: Apache-2.0 */
/* turn: projects take turns; who leaves makes room. */
#include "unit.h"

#include "server/turn.h"

enum { MANY = 50 };

static struct turn *order[3 * MANY];
static size_t count;

static void ready(struct turn *turn)
{
    order[count++] = turn;
}

static void at_once(struct turn *turn)
{
    ready(turn);
    turn_end(turn);
}

static void fill(struct turns *turns, struct turn full[TURNS_AT_ONCE])
{
    for (int i = 0; i < TURNS_AT_ONCE; i++)
        assert_true(turn_take(turns, &full[i], "crowd", ready));
}

static void a_single_one_overtakes_a_crowd(void **state)
{
    struct turns *turns = turns_new();
    struct turn full[TURNS_AT_ONCE] = {0}, crowd[MANY] = {0}, single = {0}, gone = {0};
    count = 0;
    fill(turns, full);
    for (int i = 0; i < MANY; i++)
        assert_false(turn_take(turns, &crowd[i], "crowd", ready));
    assert_false(turn_take(turns, &gone, "left", ready));
    assert_false(turn_take(turns, &single, "alone", ready));
    turn_end(&gone); /* while it waits */
    turn_end(&full[0]);
    turn_end(&full[0]); /* twice is once */
    assert_ptr_equal(order[0], &crowd[0]);
    turn_end(&full[1]);
    assert_ptr_equal(order[1], &single);
    turn_end(&full[2]);
    assert_ptr_equal(order[2], &crowd[1]);
    assert_int_equal(count, 3);
    turn_end(&single);
    for (int i = 0; i < MANY; i++)
        turn_end(&crowd[i]);
    for (int i = 0; i < TURNS_AT_ONCE; i++)
        turn_end(&full[i]);
    turns_free(turns);
}

static void turns_given_back_at_once_pass_on(void **state)
{
    struct turns *turns = turns_new();
    struct turn full[TURNS_AT_ONCE] = {0}, crowd[MANY] = {0};
    count = 0;
    fill(turns, full);
    for (int i = 0; i < MANY; i++)
        assert_false(turn_take(turns, &crowd[i], i % 2 ? "a" : "b", at_once));
    turn_end(&full[0]);
    assert_int_equal(count, MANY);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(order[i], &crowd[i]);
    for (int i = 0; i < TURNS_AT_ONCE; i++)
        turn_end(&full[i]);
    turns_free(turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_one_overtakes_a_crowd),
        cmocka_unit_test(turns_given_back_at_once_pass_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
