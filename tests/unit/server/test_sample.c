/* SPDX-License-Identifier: Apache-2.0 */
/* sample: a ring of bounded size in which all of a life stays visible. */
#include "unit.h"

#include "server/sample.h"

static void bounded(void **state)
{
    struct sample_ring *ring = NULL;
    assert_int_equal(sample_ring_count(ring), 0);
    for (int64_t t = 1; t <= 100000; t++)
        sample_ring_add(&ring, &(struct sample){.time = t});
    size_t count = sample_ring_count(ring);
    assert_true(count > SAMPLE_RING_MAX / 2 && count <= SAMPLE_RING_MAX);
    assert_int_equal(sample_ring_at(ring, 0)->time, 1); /* the beginning is kept */
    assert_int_equal(sample_ring_at(ring, count - 1)->time, 100000);
    assert_int_equal(sample_ring_at(ring, count - 2)->time,
                     99999); /* the present is fine-grained */
    for (size_t i = 1; i < count; i++)
        assert_true(sample_ring_at(ring, i)->time > sample_ring_at(ring, i - 1)->time);
    sample_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
