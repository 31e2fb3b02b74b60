// The machine's peaks: `peak fma avx2|avx512 THREADS` in GFLOP/s, `peak axpy THREADS` in GB/s.
// Built and run by machine.py; prints one number, or fails where the processor lacks the
// instructions.

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace {

// Two FMA units with a latency of four or five cycles are full with ten chains at most.
constexpr int kChains = 12;
constexpr long kSteps = 1'000'000;   // 1 to 2 ms: some repeats are not interrupted
constexpr long kFloats = 64L << 20;  // 256 MB an array: far above any cache

__attribute__((target("avx2,fma"))) void chains_avx2() {
  __m256 sum[kChains], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
  for (auto& s : sum) s = a;
  for (long i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (auto& s : sum) {
      s = _mm256_fmadd_ps(s, a, b);
      asm volatile("" : "+x"(s));  // every product is made
    }
  }
}

__attribute__((target("avx512f"))) void chains_avx512() {
  __m512 sum[kChains], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
  for (auto& s : sum) s = a;
  for (long i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (auto& s : sum) {
      s = _mm512_fmadd_ps(s, a, b);
      asm volatile("" : "+v"(s));
    }
  }
}

void axpy(const float* x, float* y, long n) {
  for (long i = 0; i < n; ++i) y[i] += 0.5f * x[i];
}

// Seconds from the common start until the last thread is done.
double seconds(int threads, const std::function<void(int)>& work) {
  std::atomic<int> ready{0};
  std::vector<std::thread> pool;
  std::chrono::steady_clock::time_point start;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back([&, i] {
      ++ready;
      while (ready < threads + 1) std::this_thread::yield();
      work(i);
    });
  }
  while (ready < threads) std::this_thread::yield();
  start = std::chrono::steady_clock::now();
  ++ready;
  for (auto& thread : pool) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double best(int repeats, int threads, const std::function<void(int)>& work) {
  double shortest = 1e30;
  for (int i = 0; i < repeats; ++i) shortest = std::min(shortest, seconds(threads, work));
  return shortest;
}

double fma_gflops(const char* isa, int threads) {
  const bool wide = !std::strcmp(isa, "avx512");
  if (wide ? !__builtin_cpu_supports("avx512f") : !__builtin_cpu_supports("fma")) std::exit(3);
  const double flop = 2.0 * kChains * kSteps * (wide ? 16 : 8) * threads;
  return 1e-9 * flop / best(30, threads, [&](int) { wide ? chains_avx512() : chains_avx2(); });
}

double axpy_gbytes(int threads) {
  std::unique_ptr<float[]> x(new float[kFloats]), y(new float[kFloats]);
  std::fill_n(x.get(), kFloats, 1.0f);
  std::fill_n(y.get(), kFloats, 1.0f);
  const long part = kFloats / threads;
  const double bytes = 3.0 * sizeof(float) * part * threads;
  return 1e-9 * bytes /
         best(5, threads, [&](int i) { axpy(x.get() + i * part, y.get() + i * part, part); });
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = std::max(1, std::atoi(argv[argc - 1]));
  if (argc == 4 && !std::strcmp(argv[1], "fma")) {
    std::printf("%.4f\n", fma_gflops(argv[2], threads));
  } else if (argc == 3 && !std::strcmp(argv[1], "axpy")) {
    std::printf("%.4f\n", axpy_gbytes(threads));
  } else {
    return 2;
  }
  return 0;
}
