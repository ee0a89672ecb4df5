// The other half of emulator.h: ENTRY(Args) run over a grid of blocks.
static const unsigned SHARED = 1 << 16;
alignas(16) wide pool[SHARED / sizeof(wide)];
static const Args* arguments;

static void body() { ENTRY(*arguments); finished[threadIdx.x] = true; }

// 0, or what is wrong: 1 some threads wait for others that have ended, 2 shared memory beyond what was asked for was written to
extern "C" int run(unsigned blocks, unsigned threads, unsigned shared, const void* args, int backwards) {
    static char* stacks = (char*)malloc(size_t(MOST) * STACK);
    arguments = (const Args*)args;
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        memset((void*)pool, 0xff, SHARED);
        for (unsigned t = 0; t < threads; t++) {
            getcontext(&fiber[t]);
            fiber[t].uc_stack.ss_sp = stacks + size_t(t) * STACK;
            fiber[t].uc_stack.ss_size = STACK;
            fiber[t].uc_link = &scheduler;
            makecontext(&fiber[t], body, 0);
            finished[t] = false;
        }
        for (unsigned ended = 0; ended < threads;) {
            ended = 0;
            for (unsigned i = 0; i < threads; i++) {
                threadIdx.x = backwards ? threads - 1 - i : i;
                swapcontext(&scheduler, &fiber[threadIdx.x]);
                ended += finished[threadIdx.x];
            }
            if (ended && ended < threads) return 1;
        }
        for (unsigned i = shared; i < SHARED; i++) if (((unsigned char*)pool)[i] != 0xff) return 2;
    }
    return 0;
}

extern "C" int args_size() { return sizeof(Args); }
