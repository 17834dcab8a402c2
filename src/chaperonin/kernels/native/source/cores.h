// Threads that stay between products: some hundred microseconds are not enough to make new ones, or to wake one that
// sleeps for every product.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace chaperonin {

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// How often a thread looks whether there is something to do before it sleeps: tens of microseconds.
constexpr int LOOKS = 1500;

// One piece of work at a time, done by whoever asks for it and by as many others as come in before it is over.
class Crew {
public:
    typedef void (*Work)(void *);

    // work(argument) by this thread and at most `others` more, all of which have left it at the end. Whoever asks while
    // another one's work is done works alone.
    void run(Work work, void *argument, long others) {
        std::unique_lock<std::mutex> mine(busy_, std::try_to_lock);
        if (!mine || !gather(others)) return work(argument);
        {
            std::lock_guard<std::mutex> hold(lock_);
            work_ = work, argument_ = argument, wanted_ = others;
            turn_.fetch_add(1, std::memory_order_release);
        }
        call_.notify_all();
        work(argument);
        {
            std::lock_guard<std::mutex> hold(lock_);
            wanted_ = 0;  // who comes now finds nothing left
        }
        for (int look = 0; look < LOOKS && inside_.load(std::memory_order_acquire); ++look) relax();
        std::unique_lock<std::mutex> hold(lock_);
        left_.wait(hold, [&] { return inside_.load(std::memory_order_acquire) == 0; });
    }

private:
    // Whether there are so many others now; they are never dismissed.
    bool gather(long others) {
        try {
            for (; members_ < others; ++members_) std::thread([this] { serve(); }).detach();
        } catch (const std::exception &) {  // the system gives no more threads, or no memory
        }
        return members_ > 0;
    }

    void serve() {
        for (unsigned long seen = 0;;) {
            for (int look = 0; look < LOOKS && turn_.load(std::memory_order_acquire) == seen; ++look) relax();
            std::unique_lock<std::mutex> hold(lock_);
            call_.wait(hold, [&] { return turn_.load(std::memory_order_relaxed) != seen; });
            seen = turn_.load(std::memory_order_relaxed);
            if (wanted_ <= 0) continue;
            --wanted_;
            inside_.fetch_add(1, std::memory_order_relaxed);
            const Work work = work_;
            void *argument = argument_;
            hold.unlock();
            work(argument);
            hold.lock();
            if (inside_.fetch_sub(1, std::memory_order_release) == 1) left_.notify_one();
        }
    }

    std::mutex busy_, lock_;
    std::condition_variable call_, left_;
    std::atomic<unsigned long> turn_{0};
    std::atomic<long> inside_{0};
    Work work_ = nullptr;
    void *argument_ = nullptr;
    long wanted_ = 0, members_ = 0;
};

// The process's own; one that was forked has none of its parent's threads, and begins anew.
static Crew *&crew() {
    static Crew *own = [] {
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork(nullptr, nullptr, [] { crew() = new (std::nothrow) Crew; });
#endif
        return new (std::nothrow) Crew;
    }();
    return own;
}

// work(where the next row stands) on so many cores; 1 where one of them finds no memory, else 0.
template <class Work>
int on_cores(long cores, Work work) {
    struct Job {
        Work &work;
        long next;
        std::atomic<int> failed;
    } job = {work, 0, {0}};
    const auto one = [](void *given) {
        Job &own = *static_cast<Job *>(given);
        try {
            own.work(&own.next);
        } catch (const std::bad_alloc &) {
            own.failed.store(1, std::memory_order_relaxed);
        }
    };
    if (cores > 1 && crew())
        crew()->run(one, &job, cores - 1);
    else
        one(&job);
    return job.failed.load(std::memory_order_relaxed);
}

}  // namespace chaperonin
