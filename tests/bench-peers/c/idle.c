/* A host that has begun and has nothing to do: says so, and ends when its standard input does. */
#include <micro.h>
#include <stdio.h>

int main(void)
{
    micro_runtime *runtime = NULL;
    micro_queue *queue = NULL;
    if (micro_runtime_new(NULL, &runtime, NULL) != MICRO_OK || micro_queue_new(runtime, 0, &queue, NULL) != MICRO_OK)
        return 1;
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    micro_runtime_free(runtime);
    micro_queue_free(queue);
    return 0;
}
