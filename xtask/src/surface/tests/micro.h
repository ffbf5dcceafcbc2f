#define MICRO_EVENT_REPLY 1
#define MICRO_EVENT_OPENED 2
#define MICRO_EVENT_CHANGE 3
#define MICRO_EVENT_END 4

// Adds a node. args {"service": record,
// "ttl"?: duration}. REPLY: nothing.
#define MICRO_REGISTRY_REGISTER 516

// Changes. args {}. CHANGE: a record.
#define MICRO_REGISTRY_WATCH 515

int micro_client_call(int token);
void micro_free(void);
