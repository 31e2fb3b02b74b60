// Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): each output
// is a function of (seed, image, step, stream, element) alone.
#include "core/args.h"
#include "core/parallel.h"
#include "simd/math.h"
#include "simd/simd.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

constexpr int kBatch = 64;  // counters at a time: 4 words of each
constexpr int64_t kElements = 4 * kBatch;
constexpr int64_t kGrain = 8192;  // elements per task

// word[w][i]: word w of counter (first + i, image, step, stream)
struct Words {
  uint32_t word[4][kBatch];
};

struct Stream {
  uint64_t seed;
  uint32_t image, step, stream;
};

// Counters first, first + 1, ... of one image.
PYDIFF_INLINE void count(const Stream& s, uint32_t first, Words* out) {
  for (int i = 0; i < kBatch; ++i) {
    out->word[0][i] = first + static_cast<uint32_t>(i);
    out->word[1][i] = s.image;
  }
}

// Counters 0 .. each - 1 of image s.image, of the next one, and so on.
PYDIFF_INLINE void count_images(const Stream& s, int each, Words* out) {
  for (int i = 0; i < kBatch; ++i) {
    out->word[0][i] = static_cast<uint32_t>(i % each);
    out->word[1][i] = s.image + static_cast<uint32_t>(i / each);
  }
}

PYDIFF_INLINE void philox(const Stream& s, Words* out) {
  auto& c = out->word;
  for (int i = 0; i < kBatch; ++i) {
    c[2][i] = s.step;
    c[3][i] = s.stream;
  }
  uint32_t key0 = static_cast<uint32_t>(s.seed), key1 = static_cast<uint32_t>(s.seed >> 32);
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
    for (int i = 0; i < kBatch; ++i) {
      const uint64_t product0 = uint64_t{0xD2511F53u} * c[0][i];
      const uint64_t product1 = uint64_t{0xCD9E8D57u} * c[2][i];
      c[0][i] = static_cast<uint32_t>(product1 >> 32) ^ c[1][i] ^ key0;
      c[2][i] = static_cast<uint32_t>(product0 >> 32) ^ c[3][i] ^ key1;
      c[1][i] = static_cast<uint32_t>(product1);
      c[3][i] = static_cast<uint32_t>(product0);
    }
  }
}

// (u + 0.5) 2^-32 for every word
struct Uniforms {
  double u[4][kBatch];
};
PYDIFF_INLINE void to_unit_interval(const Words& words, Uniforms* out) {
  for (int w = 0; w < 4; ++w)
    for (int i = 0; i < kBatch; ++i)
      out->u[w][i] = (static_cast<double>(words.word[w][i]) + 0.5) * 0x1p-32;
}

// (u0, u1) -> (r cos 2 pi u1, r sin 2 pi u1), r = sqrt(-2 log u0), in place
PYDIFF_INLINE void box_muller(double* u0, double* u1) {
  for (int i = 0; i < kBatch; i += Vec<double>::width) {
    Vec<double> sine, cosine;
    const Vec<double> r = sqrt(set1<double>(-2.0) * log(load(u0 + i)));
    sincos_2pi(load(u1 + i), &sine, &cosine);
    store(u0 + i, r * cosine);
    store(u1 + i, r * sine);
  }
}

// A float just below 1 would round to 1, which uniform() excludes.
PYDIFF_INLINE float below_one(double x, float) {
  const float y = static_cast<float>(x);
  return y < 1.0f ? y : 0x1.fffffep-1f;
}
PYDIFF_INLINE double below_one(double x, double) { return x; }

template <bool kNormal>
PYDIFF_INLINE void draw(const Stream& s, Words* words, Uniforms* values) {
  philox(s, words);
  to_unit_interval(*words, values);
  if (kNormal) {
    box_muller(values->u[0], values->u[1]);
    box_muller(values->u[2], values->u[3]);
  }
}

// n numbers of one image, whose first is in column `first` of the batch.
template <class T, bool kNormal>
PYDIFF_INLINE void write(const Uniforms& values, int64_t first, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double value = values.u[i % 4][first + i / 4];
    y[i] = kNormal ? static_cast<T>(value) : below_one(value, T());
  }
}

// y (images, n) in tasks of kGrain elements of one image
template <class T, bool kNormal>
void fill(const RandomArgs<T>& args) {
  const int64_t parts = (args.n + kGrain - 1) / kGrain;
  parallel_for(args.images * parts, [&](int64_t task, int) {
    const int64_t image = task / parts, begin = task % parts * kGrain;
    const int64_t end = begin + kGrain < args.n ? begin + kGrain : args.n;
    const Stream s = {args.seed, args.first_image + static_cast<uint32_t>(image), args.step,
                      args.stream};
    T* y = args.y + image * args.n;
    for (int64_t e = begin; e < end; e += kElements) {
      Words words;
      Uniforms values;
      count(s, static_cast<uint32_t>(e / 4), &words);
      draw<kNormal>(s, &words, &values);
      write<T, kNormal>(values, 0, end - e < kElements ? end - e : kElements, y + e);
    }
  });
}

// The same numbers for small images, as many of them at a time as have their counters in a batch:
// alone, a point of the plane would take a 128th of it.
template <class T, bool kNormal>
void fill_small(const RandomArgs<T>& args) {
  const int64_t each = (args.n + 3) / 4, together = kBatch / each;
  const int64_t batches = (args.images + together - 1) / together;
  const int64_t grain = kGrain / kElements;  // batches per task
  parallel_for((batches + grain - 1) / grain, [&](int64_t task, int) {
    const int64_t last = (task + 1) * grain < batches ? (task + 1) * grain : batches;
    for (int64_t batch = task * grain; batch < last; ++batch) {
      const int64_t image = batch * together;
      const Stream s = {args.seed, args.first_image + static_cast<uint32_t>(image), args.step,
                        args.stream};
      Words words;
      Uniforms values;
      count_images(s, static_cast<int>(each), &words);
      draw<kNormal>(s, &words, &values);
      const int64_t left = args.images - image;
      for (int64_t i = 0; i < (left < together ? left : together); ++i)
        write<T, kNormal>(values, i * each, args.n, args.y + (image + i) * args.n);
    }
  });
}

template <class T, bool kNormal>
void generate(const RandomArgs<T>& args) {
  const bool small = args.n > 0 && args.n <= kElements / 2;
  small ? fill_small<T, kNormal>(args) : fill<T, kNormal>(args);
}

}  // namespace

void uniform(const RandomArgs<float>& args) { generate<float, false>(args); }
void uniform(const RandomArgs<double>& args) { generate<double, false>(args); }
void normal(const RandomArgs<float>& args) { generate<float, true>(args); }
void normal(const RandomArgs<double>& args) { generate<double, true>(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
