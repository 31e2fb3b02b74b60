// 3x3 convolution with stride 1 by Winograd's minimal filtering (winograd_tile.h): for each of the
// (m + 2)^2 points e a product M[e] (tiles, co) = V[e] (tiles, ci) U[e] (ci, co).
//
// The gradients are the same in other order: that of x is the convolution of dy with the reversed
// kernel, that of the weight is G^T [V[e]^T (A dY A^T)[e]] G, summed over tiles.
// Floor: 2.25 (m = 2) or 4 (m = 4) times fewer multiplications than the direct product; x and y
// once through memory, U once per block of tiles. Every number is made by the same chain whatever
// the blocks, so bits depend neither on batch nor threads.
#include "kernels/conv2d.h"
#include "kernels/winograd_tile.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

// Rows, and matrices of different points, lie a line further apart than they are wide: strides of
// 2^n meet in few sets of the cache (packing 256 x 256 channels takes 0.3 ms instead of 1.4).
template <class T>
PYDIFF_INLINE int64_t padded(int64_t n) {
  return ceil_div(n, kLine<T>) * kLine<T> + kLine<T>;
}
template <class T>
PYDIFF_INLINE int64_t packed_step(int64_t in, int64_t out) {
  return panels<T>(out) * Tile<T>::cols * in + kLine<T>;
}

// The tiles of the output of a convolution, numbered over images, rows and columns.
template <class T, int m>
struct Tiles {
  static constexpr int size = m + 2, points = size * size;
  const Conv2dArgs<T>& a;
  int64_t down, across;
  explicit Tiles(const Conv2dArgs<T>& a)
      : a(a), down(ceil_div(a.ho, m)), across(ceil_div(a.wo, m)) {}
  int64_t count() const { return a.n * down * across; }
  int64_t image(int64_t tile) const { return tile / (down * across); }
  int64_t row(int64_t tile) const { return tile / across % down * m; }
  int64_t col(int64_t tile) const { return tile % across * m; }
};

// Where the pixels of a square of an image (h, w) lie; `outside` for those that it does not have.
template <class T, int size>
struct Patch {
  const T* at[size][size];
  Patch(const T* image, int64_t h, int64_t w, int64_t ld, int64_t top, int64_t left,
        const T* outside) {
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        const int64_t y = top + i, x = left + j;
        at[i][j] = y >= 0 && y < h && x >= 0 && x < w ? image + (y * w + x) * ld : outside;
      }
  }
};

// v[e] (ci,) = B^T d B of one tile; v[e] lie `step` apart. zeros (ci,) stand for the border. The
// pixels of the next tile are fetched ahead: 36 lines at once are more than the hardware foresees.
template <class T, int m>
void transform_input(const Tiles<T, m>& g, int64_t tile, const T* zeros, T* v, int64_t step) {
  constexpr int size = m + 2;
  const Conv2dArgs<T>& a = g.a;
  const Patch<T, size> d(a.x + g.image(tile) * a.h * a.w * a.ldx, a.h, a.w, a.ldx,
                         g.row(tile) - a.pad_top, g.col(tile) - a.pad_left, zeros);
  const int64_t next = m * a.ldx;
  for_lanes<T>(a.ci, [&](int64_t c, auto lanes) {
    Vec<T> half[size][size];
    PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
      Vec<T> in[size], out[size];
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) in[i] = load(d.at[i][j] + c, lanes);
      PYDIFF_UNROLL for (int i = 0; i < size && j >= 2; ++i) {
        __builtin_prefetch(d.at[i][j] + c + next);
      }
      Winograd<m>::input(in, out);
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) half[i][j] = out[i];
    }
    PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
      Vec<T> out[size];
      Winograd<m>::input(half[i], out);
      PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
        store(v + (i * size + j) * step + c, out[j], lanes);
      }
    }
  });
}

// The pixels of one tile of y = scale (A^T M A + bias + add + residual), M[e] (co,) `step` apart
template <class T, int m>
void transform_output(const Tiles<T, m>& g, int64_t tile, const T* from, int64_t step) {
  constexpr int size = m + 2;
  const Conv2dArgs<T>& a = g.a;
  const int64_t image = g.image(tile), row = g.row(tile), col = g.col(tile);
  const int rows = static_cast<int>(least(m, a.ho - row));
  const int cols = static_cast<int>(least(m, a.wo - col));
  const int64_t pixel = (image * a.ho + row) * a.wo + col;
  T* const y = a.y + pixel * a.ldy;
  const T* const residual = a.residual == nullptr ? nullptr : a.residual + pixel * a.ld_residual;
  const Vec<T> scale = set1<T>(a.scale);
  for_lanes<T>(a.co, [&](int64_t c, auto lanes) {
    Vec<T> half[m][size];
    PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
      Vec<T> in[size], out[m];
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
        in[i] = load(from + (i * size + j) * step + c, lanes);
      }
      Winograd<m>::output(in, out);
      PYDIFF_UNROLL for (int i = 0; i < m; ++i) half[i][j] = out[i];
    }
    Vec<T> bias = a.bias == nullptr ? zero<T>() : load(a.bias + c, lanes);
    if (a.add != nullptr) bias = bias + load(a.add + image * a.ld_add + c, lanes);
    for (int i = 0; i < rows; ++i) {
      Vec<T> out[m];
      Winograd<m>::output(half[i], out);
      PYDIFF_UNROLL for (int j = 0; j < m; ++j) {
        if (j >= cols) break;
        const int64_t at = i * a.wo + j;
        Vec<T> z = out[j] + bias;
        if (residual != nullptr) z = z + load(residual + at * a.ld_residual + c, lanes);
        store(y + at * a.ldy + c, z * scale, lanes);
      }
    }
  });
}

// dm[e] = A dY A^T of one tile, as row `row` of `rows` in panels as Packed reads them
template <class T, int m>
void transform_gradient(const Tiles<T, m>& g, int64_t tile, int64_t row, int64_t rows, T* dm,
                        int64_t step) {
  constexpr int size = m + 2;
  constexpr int64_t width = Vec<T>::width, cols = Tile<T>::cols;
  const Conv2dArgs<T>& a = g.a;
  const Patch<T, m> dy(a.y + g.image(tile) * a.ho * a.wo * a.ldy, a.ho, a.wo, a.ldy, g.row(tile),
                       g.col(tile), nullptr);
  const auto place = [&](int64_t c) { return dm + (c / cols * rows + row) * cols + c % cols; };
  for_lanes<T>(a.co, [&](int64_t c, auto lanes) {
    Vec<T> half[size][m];
    PYDIFF_UNROLL for (int j = 0; j < m; ++j) {
      Vec<T> in[m], out[size];
      PYDIFF_UNROLL for (int i = 0; i < m; ++i) {
        in[i] = dy.at[i][j] == nullptr ? zero<T>() : load(dy.at[i][j] + c, lanes);
      }
      Winograd<m>::output_adjoint(in, out);
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) half[i][j] = out[i];
    }
    T* const to = place(c);
    PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
      Vec<T> out[size];
      Winograd<m>::output_adjoint(half[i], out);
      PYDIFF_UNROLL for (int j = 0; j < size; ++j) store(to + (i * size + j) * step, out[j]);
    }
  });
  for (int64_t c = ceil_div(a.co, width) * width; c < panels<T>(a.co) * cols; c += width)
    for (int e = 0; e < size * size; ++e) store(place(c) + e * step, zero<T>());
}

// weight (3, 3, ci, co) = G^T du G from du[e] (ci, ld), which lie `step` apart
template <class T, int m>
void transform_weight_gradient(const Conv2dArgs<T>& a, const T* du, int64_t ld, int64_t step) {
  constexpr int size = m + 2;
  parallel_for(a.ci, [&](int64_t k, int) {
    for_lanes<T>(a.co, [&](int64_t c, auto lanes) {
      Vec<T> half[3][size];
      PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
        Vec<T> in[size], out[3];
        PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
          in[i] = load(du + (i * size + j) * step + k * ld + c, lanes);
        }
        Winograd<m>::weight_adjoint(in, out);
        PYDIFF_UNROLL for (int i = 0; i < 3; ++i) half[i][j] = out[i];
      }
      PYDIFF_UNROLL for (int i = 0; i < 3; ++i) {
        Vec<T> out[3];
        Winograd<m>::weight_adjoint(half[i], out);
        PYDIFF_UNROLL for (int j = 0; j < 3; ++j) {
          store(a.weight + ((i * 3 + j) * a.ci + k) * a.co + c, out[j], lanes);
        }
      }
    });
  });
}

// w[tap] (rows, cols of a panel) from the weight (3, 3, ci, co): inputs [first, first + rows) and
// outputs [out, out + outs), zero beyond; reversed: taps run backwards and channels change places.
template <class T>
void stage(const ConvPackArgs<T>& a, int64_t first, int64_t rows, int64_t out, int64_t outs, T* w) {
  constexpr int64_t cols = Tile<T>::cols;
  for (int tap = 0; tap < 9; ++tap, w += rows * cols) {
    const T* from = a.weight + (a.reversed ? 8 - tap : tap) * a.ci * a.co;
    from += a.reversed ? out * a.co + first : first * a.co + out;
    pack_panel(rows, outs, from, a.co, a.reversed, w);
  }
}

// u[e] in panels (in, cols of a panel) = G w G^T; u[e] lie packed_step apart
template <class T, int m>
void pack_points(const ConvPackArgs<T>& a) {
  constexpr int size = m + 2, width = Vec<T>::width, cols = Tile<T>::cols;
  constexpr int64_t chunk = 16;
  const int64_t in = a.reversed ? a.co : a.ci, outputs = a.reversed ? a.ci : a.co;
  const int64_t chunks = ceil_div(in, chunk), step = packed_step<T>(in, outputs);
  parallel_for(panels<T>(outputs) * chunks, [&](int64_t task, int) {
    const int64_t panel = task / chunks, first = task % chunks * chunk, out = panel * cols;
    const int64_t rows = least(chunk, in - first);
    T w[9 * chunk * cols];
    stage(a, first, rows, out, least(cols, outputs - out), w);
    T* const to = a.packed + (panel * in + first) * cols;
    for (int64_t at = 0; at < rows * cols; at += width) {
      Vec<T> half[size][3];
      PYDIFF_UNROLL for (int j = 0; j < 3; ++j) {
        Vec<T> taps[3], points[size];
        PYDIFF_UNROLL for (int i = 0; i < 3; ++i) taps[i] =
            load(w + (3 * i + j) * rows * cols + at);
        Winograd<m>::weight(taps, points);
        PYDIFF_UNROLL for (int i = 0; i < size; ++i) half[i][j] = points[i];
      }
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
        Vec<T> points[size];
        Winograd<m>::weight(half[i], points);
        PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
          store(to + (i * size + j) * step + at, points[j]);
        }
      }
    }
  });
}

// Memory of one block of tiles: V and M
template <class T, int m>
struct Work {
  static constexpr int points = Tiles<T, m>::points;
  int64_t ldv, ldm, v_step, m_step;
  Work(const Conv2dArgs<T>& a, int64_t tiles)
      : ldv(padded<T>(a.ci)), ldm(padded<T>(a.co)), v_step(tiles * ldv), m_step(tiles * ldm) {}
  int64_t stride() const { return thread_stride<T>(points * (v_step + m_step)); }
};

// Tiles per block. Many tiles, by blocks: of about 28, whose V and M the second-level cache holds,
// each made from beginning to end by one thread. Few, by points: all threads make V, then the
// products, then y, so that U passes through the caches once. Few and small, by channels: each
// thread makes all of V for itself, and from it some channels of y; a tenth more work at 64
// channels, but no thread waits for what another wrote. 16x16 with 64 channels on two threads: 16.3
// us and not 15.5, but where the host has put the cores far apart 24 and not 31; 28 on one thread.
constexpr int64_t kBlock = 28, kFew = 48, kMost = 256;
constexpr size_t kNear = 512 << 10, kSmall = 4 * kNear;

// The convolution that makes `count` output channels from `first` on
template <class T>
Conv2dArgs<T> outputs(Conv2dArgs<T> a, int64_t first, int64_t count) {
  a.co = count;
  a.y += first;
  if (a.bias != nullptr) a.bias += first;
  if (a.add != nullptr) a.add += first;
  if (a.residual != nullptr) a.residual += first;
  return a;
}

// y = scale (x * weight + bias + add + residual) with u from pack_points, in three ways
template <class T, int m>
class Forward {
 public:
  // In blocks of so many tiles; `works` of them are in the making at a time.
  Forward(const Conv2dArgs<T>& a, const T* u, int64_t block, int64_t works)
      : a_(a),
        u_(u),
        u_step_(packed_step<T>(a.ci, a.co)),
        block_(block),
        work_(a, block),
        scratch_(checked_bytes(padded<T>(a.ci) + works * work_.stride(), sizeof(T))),
        zeros_(scratch_.template as<T>()),
        blocks_(zeros_ + padded<T>(a.ci)) {
    fill_zero(a.ci, zeros_);
  }

  void by_blocks() const {
    const int64_t total = Tiles<T, m>(a_).count();
    parallel_for(ceil_div(total, block_), [&](int64_t task, int thread) {
      make(a_, u_, task * block_, least(block_, total - task * block_), thread);
    });
  }

  void by_points() const {
    const Tiles<T, m> g(a_);
    const int64_t total = g.count();
    T *const v = blocks_, *const to = v + points * work_.v_step;
    parallel_for(total, [&](int64_t r, int) {
      transform_input(g, r, zeros_, v + r * work_.ldv, work_.v_step);
    });
    // Three points in a row: the product fetches ahead what lies behind its own u[e].
    parallel_for(ceil_div(points, 3), [&](int64_t task, int) {
      for (int64_t e = 3 * task; e < least(3 * task + 3, points); ++e)
        multiply(e, total, a_.co, v, u_, to);
    });
    parallel_for(total,
                 [&](int64_t r, int) { transform_output(g, r, to + r * work_.ldm, work_.m_step); });
  }

  void by_channels(int64_t threads) const {
    constexpr int64_t cols = Tile<T>::cols;
    const int64_t all = panels<T>(a_.co);
    parallel_for(threads, [&](int64_t task, int thread) {
      const int64_t first = all * task / threads * cols, end = all * (task + 1) / threads * cols;
      const auto part = outputs(a_, first, least(end, a_.co) - first);
      make(part, u_ + first * a_.ci, 0, block_, thread);
    });
  }

 private:
  static constexpr int points = Tiles<T, m>::points;

  void multiply(int64_t e, int64_t rows, int64_t co, const T* v, const T* u, T* to) const {
    const T* const from = v + e * work_.v_step;
    const int64_t ld = work_.ldv;
    product<T, false>(
        rows, co, a_.ci, [=](int64_t i, int64_t) -> View<T> { return {from + i, ld}; },
        Packed<T>{u + e * u_step_, a_.ci}, to + e * work_.m_step, work_.ldm, false,
        static_cast<const T*>(nullptr));
  }

  // Tiles [first, first + rows) of some channels, with their u, from beginning to end
  void make(const Conv2dArgs<T>& part, const T* u, int64_t first, int64_t rows, int thread) const {
    const Tiles<T, m> g(part);
    T *const v = blocks_ + thread * work_.stride(), *const to = v + points * work_.v_step;
    for (int64_t r = 0; r < rows; ++r)
      transform_input(g, first + r, zeros_, v + r * work_.ldv, work_.v_step);
    for (int64_t e = 0; e < points; ++e) multiply(e, rows, part.co, v, u, to);
    for (int64_t r = 0; r < rows; ++r)
      transform_output(g, first + r, to + r * work_.ldm, work_.m_step);
  }

  const Conv2dArgs<T>& a_;
  const T* const u_;
  const int64_t u_step_, block_;
  const Work<T, m> work_;
  const Scratch scratch_;
  T *const zeros_, *const blocks_;
};

template <class T, int m>
void forward(const Conv2dArgs<T>& a, const T* u) {
  const int64_t total = Tiles<T, m>(a).count(), threads = num_threads();
  const size_t each = Tiles<T, m>::points * sizeof(T);
  const size_t u_bytes = each * packed_step<T>(a.ci, a.co),
               v_bytes = each * total * padded<T>(a.ci);
  const bool few = total < kFew && u_bytes > kNear;
  if (few && u_bytes <= kSmall && v_bytes <= kNear && panels<T>(a.co) >= threads)
    return Forward<T, m>(a, u, total, threads).by_channels(threads);
  if (few) return Forward<T, m>(a, u, total, 1).by_points();
  const int64_t whole = most(least(4, total / 8), total / kBlock / 4 * 4);
  Forward<T, m>(a, u, ceil_div(total, most(1, whole)), threads).by_blocks();
}

// weight (3, 3, ci, co) = its gradient, given x and y (= dy). Tiles come in blocks of kMost, whose
// transforms the last-level cache holds; their sum over tiles is one chain.
template <class T, int m>
void backward_weight(const Conv2dArgs<T>& a) {
  constexpr int points = Tiles<T, m>::points;
  const Tiles<T, m> g(a);
  const int64_t total = g.count(), block = least(kMost, total);
  const int64_t ldv = padded<T>(a.ci), ldu = padded<T>(a.co), zeros_size = ldv;
  const int64_t v_step = block * ldv, d_step = packed_step<T>(block, a.co), u_step = a.ci * ldu;
  const int64_t size = zeros_size + points * (v_step + d_step + u_step);
  const Scratch scratch(checked_bytes(size, sizeof(T)));
  T *const zeros = scratch.template as<T>(), *const v = zeros + zeros_size;
  T *const dm = v + points * v_step, *const du = dm + points * d_step;
  fill_zero(a.ci, zeros);
  const int64_t row_tasks = ceil_div(a.ci, 224), rows_each = ceil_div(a.ci, row_tasks);
  for (int64_t first = 0; first < total; first += block) {
    const int64_t tiles = least(block, total - first);
    parallel_for(tiles, [&](int64_t r, int) {
      transform_input(g, first + r, zeros, v + r * ldv, v_step);
      transform_gradient(g, first + r, r, tiles, dm, d_step);
    });
    parallel_for(points * row_tasks, [&](int64_t task, int) {
      const int64_t e = task / row_tasks, row = task % row_tasks * rows_each;
      const T* const from = v + e * v_step + row;
      product<T, true>(
          least(rows_each, a.ci - row), a.co, tiles,
          [&](int64_t i, int64_t) -> View<T> { return {from + i * ldv, ldv}; },
          Packed<T>{dm + e * d_step, tiles}, du + e * u_step + row * ldu, ldu, first > 0,
          static_cast<const T*>(nullptr));
    });
  }
  transform_weight_gradient<T, m>(a, du, ldu, u_step);
}

template <class T>
void pack(const ConvPackArgs<T>& a) {
  a.algorithm == kWinograd2 ? pack_points<T, 2>(a) : pack_points<T, 4>(a);
}

// The transform of a weight made on the way, where none was made beforehand
template <class T>
struct Transformed {
  const Scratch scratch;
  const T* u;
  Transformed(const Conv2dArgs<T>& a, int64_t in, int64_t out, bool reversed)
      : scratch(checked_bytes(
            a.packed ? 0 : (a.algorithm + 2) * (a.algorithm + 2) * packed_step<T>(in, out),
            sizeof(T))),
        u(a.packed ? a.packed : scratch.template as<T>()) {
    if (a.packed == nullptr)
      pack(ConvPackArgs<T>{a.weight, scratch.template as<T>(), 3, 3, a.ci, a.co, a.algorithm,
                           reversed});
  }
};

template <class T>
void forward_impl(const Conv2dArgs<T>& a) {
  const Transformed<T> weight(a, a.ci, a.co, false);
  a.algorithm == kWinograd2 ? forward<T, 2>(a, weight.u) : forward<T, 4>(a, weight.u);
}

// x = its gradient, given y (= dy): the convolution of dy with the reversed kernel
template <class T>
void backward_data_impl(const Conv2dArgs<T>& a) {
  const Transformed<T> weight(a, a.co, a.ci, true);
  Conv2dArgs<T> r{};
  r.x = a.y, r.y = a.x;
  r.n = a.n, r.h = a.ho, r.w = a.wo, r.ci = a.co, r.ho = a.h, r.wo = a.w, r.co = a.ci;
  r.pad_top = 2 - a.pad_top, r.pad_left = 2 - a.pad_left;
  r.ldx = a.ldy, r.ldy = a.ldx, r.scale = 1;
  a.algorithm == kWinograd2 ? forward<T, 2>(r, weight.u) : forward<T, 4>(r, weight.u);
}

template <class T>
void backward_weight_impl(const Conv2dArgs<T>& a) {
  a.algorithm == kWinograd2 ? backward_weight<T, 2>(a) : backward_weight<T, 4>(a);
}

}  // namespace

void winograd(const Conv2dArgs<float>& args) { forward_impl(args); }
void winograd(const Conv2dArgs<double>& args) { forward_impl(args); }
void winograd_backward_data(const Conv2dArgs<float>& args) { backward_data_impl(args); }
void winograd_backward_data(const Conv2dArgs<double>& args) { backward_data_impl(args); }
void winograd_backward_weight(const Conv2dArgs<float>& args) { backward_weight_impl(args); }
void winograd_backward_weight(const Conv2dArgs<double>& args) { backward_weight_impl(args); }
void winograd_pack(const ConvPackArgs<float>& args) { pack(args); }
void winograd_pack(const ConvPackArgs<double>& args) { pack(args); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
