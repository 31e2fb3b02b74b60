#include "kernels/conv2d.h"
#include "kernels/winograd_tile.h"
#include <cstdlib>

namespace pydiff::PYDIFF_ISA_NAMESPACE {
namespace {

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

// Where the pixels of one tile of an image (h, w) with `ld` elements per pixel lie.
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

// v[e] (rows of ldv) = B^T d B for tile `tile`, row `row` of each v[e]; v[e] lie `step` apart
template <class T, int m>
void transform_input(const Tiles<T, m>& g, int64_t tile, const T* zeros, T* v, int64_t step) {
  constexpr int size = m + 2;
  const Conv2dArgs<T>& a = g.a;
  const Patch<T, size> d(a.x + g.image(tile) * a.h * a.w * a.ldx, a.h, a.w, a.ldx,
                         g.row(tile) - a.pad_top, g.col(tile) - a.pad_left, zeros);
  for_lanes<T>(a.ci, [&](int64_t c, auto lanes) {
    Vec<T> half[size][size];
    PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
      Vec<T> in[size], out[size];
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) in[i] = load(d.at[i][j] + c, lanes);
      Winograd<m>::input(in, out);
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) half[i][j] = out[i];
    }
    PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
      Vec<T> out[size];
      Winograd<m>::input(half[i], out);
      PYDIFF_UNROLL for (int j = 0; j < size; ++j)
        store(v + (i * size + j) * step + c, out[j], lanes);
    }
  });
}

template <class T, int m>
void transform_output(const Tiles<T, m>& g, int64_t tile, const T* from, int64_t step) {
  constexpr int size = m + 2;
  const Conv2dArgs<T>& a = g.a;
  const int64_t image = g.image(tile), row = g.row(tile), col = g.col(tile);
  const int rows = static_cast<int>(least(m, a.ho - row)),
            cols = static_cast<int>(least(m, a.wo - col));
  const int64_t pixel = (image * a.ho + row) * a.wo + col;
  T* const y = a.y + pixel * a.ldy;
  const T* const residual = a.residual == nullptr ? nullptr : a.residual + pixel * a.ld_residual;
  const Vec<T> scale = set1<T>(a.scale);
  for_lanes<T>(a.co, [&](int64_t c, auto lanes) {
    Vec<T> half[m][size];
    PYDIFF_UNROLL for (int j = 0; j < size; ++j) {
      Vec<T> in[size], out[m];
      PYDIFF_UNROLL for (int i = 0; i < size; ++i)
        in[i] = load(from + (i * size + j) * step + c, lanes);
      Winograd<m>::output(in, out);
      PYDIFF_UNROLL for (int i = 0; i < m; ++i) half[i][j] = out[i];
    }
    Vec<T> bias = a.bias == nullptr ? zero<T>() : load(a.bias + c, lanes);
    if (a.add != nullptr) bias = bias + load(a.add + image * a.ld_add + c, lanes);
    PYDIFF_UNROLL for (int i = 0; i < m; ++i) {
      if (i >= rows) break;
      Vec<T> out[m];
      Winograd<m>::output(half[i], out);
      PYDIFF_UNROLL for (int j = 0; j < m; ++j) {
        if (j >= cols) break;
        Vec<T> z = out[j] + bias;
        if (residual != nullptr)
          z = z + load(residual + (i * a.wo + j) * a.ld_residual + c, lanes);
        store(y + (i * a.wo + j) * a.ldy + c, z * scale, lanes);
      }
    }
  });
}

template <class T>
void zero_fill(int64_t n, T* to) {
  for_lanes<T>(n, [&](int64_t i, auto at) { store(to + i, zero<T>(), at); });
}

template <class T, int m>
void forward(const Conv2dArgs<T>& a, const T* u) {
  constexpr int points = Tiles<T, m>::points;
  const Tiles<T, m> g(a);
  const int64_t total = g.count();
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t ldv = ceil_div(a.ci, line) * line + line, ldm = ceil_div(a.co, line) * line + line;
  const int64_t u_step = panels<T>(a.co) * Tile<T>::cols * a.ci;
  static const int64_t TB = getenv("TB") ? atoi(getenv("TB")) : 28;
  static const int64_t SB = getenv("SB") ? atoi(getenv("SB")) : 256;
  static const int64_t MODE = getenv("MODE") ? atoi(getenv("MODE")) : 0;
  const bool phases = MODE == 0 ? total < 8 * TB : MODE == 2;
  const int64_t block = phases ? least(SB, total) : TB;
  const int64_t v_step = block * ldv, m_step = block * ldm;
  const int64_t each = points * (v_step + m_step);
  const Scratch scratch(checked_bytes((phases ? 1 : num_threads()) * each + a.ci + line, sizeof(T)));
  T* const zeros = scratch.template as<T>();
  T* const work = zeros + ceil_div(a.ci, line) * line;
  zero_fill(a.ci, zeros);
  const auto multiply = [&](int e, int64_t rows, int64_t col, int64_t cols, const T* v, T* to) {
    product<T, false>(
        rows, cols, a.ci,
        [&](int64_t i, int64_t) -> View<T> { return {v + e * v_step + i, ldv}; },
        Packed<T>{u + e * u_step + col * a.ci, a.ci}, to + e * m_step + col, ldm, false,
        static_cast<const T*>(nullptr));
  };
  if (!phases) {
    parallel_for(ceil_div(total, block), [&](int64_t task, int thread) {
      T *const v = work + thread * each, *const to = v + points * v_step;
      const int64_t first = task * block, rows = least(block, total - first);
      for (int64_t r = 0; r < rows; ++r) transform_input(g, first + r, zeros, v + r * ldv, v_step);
      for (int e = 0; e < points; ++e) multiply(e, rows, 0, a.co, v, to);
      for (int64_t r = 0; r < rows; ++r) transform_output(g, first + r, to + r * ldm, m_step);
    });
    return;
  }
  T *const v = work, *const to = v + points * v_step;
  for (int64_t first = 0; first < total; first += block) {
    const int64_t rows = least(block, total - first);
    parallel_for(rows, [&](int64_t r, int) {
      transform_input(g, first + r, zeros, v + r * ldv, v_step);
    });
    parallel_for(points, [&](int64_t task, int) {
      multiply(task, rows, 0, a.co, v, to);
    });
    parallel_for(rows, [&](int64_t r, int) {
      transform_output(g, first + r, to + r * ldm, m_step);
    });
  }
}

// One task: `in` .. of one panel, from the weight (3, 3, ci, co) to u[e] (panel, ci, cols)
template <class T, int m>
void pack(const ConvPackArgs<T>& a) {
  constexpr int size = m + 2, width = Vec<T>::width, cols = Tile<T>::cols;
  constexpr int64_t chunk = 16;
  const int64_t n_in = a.reversed ? a.co : a.ci, n_out = a.reversed ? a.ci : a.co;
  const int64_t count = panels<T>(n_out), chunks = ceil_div(n_in, chunk);
  const int64_t step = count * cols * n_in;
  parallel_for(count * chunks, [&](int64_t task, int) {
    const int64_t panel = task / chunks, first = task % chunks * chunk;
    const int64_t rows = least(chunk, n_in - first), out0 = panel * cols;
    const int64_t outs = least(cols, n_out - out0);
    T block[9][chunk][cols];
    for (int tap = 0; tap < 9; ++tap) {
      const T* w = a.weight + (a.reversed ? 8 - tap : tap) * a.ci * a.co;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t j = 0; j < cols; ++j)
          block[tap][r][j] = j >= outs ? T(0) : a.reversed ? w[(out0 + j) * a.co + first + r] : w[(first + r) * a.co + out0 + j];
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int j = 0; j < cols; j += width) {
        Vec<T> half[size][3];
        for (int x = 0; x < 3; ++x) {
          const Vec<T> w[3] = {load(&block[x][r][j]), load(&block[3 + x][r][j]), load(&block[6 + x][r][j])};
          Vec<T> out[size];
          Winograd<m>::weight(w, out);
          for (int i = 0; i < size; ++i) half[i][x] = out[i];
        }
        for (int i = 0; i < size; ++i) {
          Vec<T> out[size];
          Winograd<m>::weight(half[i], out);
          for (int k = 0; k < size; ++k)
            store(a.packed + (i * size + k) * step + (panel * n_in + first + r) * cols + j, out[k]);
        }
      }
  });
}

template <class T>
int64_t packed_size(const Conv2dArgs<T>& a, int64_t in, int64_t out) {
  const int64_t size = a.algorithm + 2;
  return size * size * panels<T>(out) * Tile<T>::cols * in;
}

template <class T>
void winograd_impl(const Conv2dArgs<T>& a) {
  const Scratch own(checked_bytes(a.packed != nullptr ? 0 : packed_size(a, a.ci, a.co), sizeof(T)));
  const T* u = a.packed;
  if (u == nullptr) {
    winograd_pack(ConvPackArgs<T>{a.weight, own.template as<T>(), 3, 3, a.ci, a.co, a.algorithm, false});
    u = own.template as<T>();
  }
  a.algorithm == kWinograd2 ? forward<T, 2>(a, u) : forward<T, 4>(a, u);
}

template <class T>
void backward_data_impl(const Conv2dArgs<T>& a) {
  const Scratch own(checked_bytes(packed_size(a, a.co, a.ci), sizeof(T)));
  winograd_pack(ConvPackArgs<T>{a.weight, own.template as<T>(), 3, 3, a.ci, a.co, a.algorithm, true});
  Conv2dArgs<T> r{};
  r.x = a.y, r.y = a.x, r.packed = own.template as<T>();
  r.n = a.n, r.h = a.ho, r.w = a.wo, r.ci = a.co, r.co = a.ci, r.kh = r.kw = 3;
  r.ho = a.h, r.wo = a.w, r.stride_h = r.stride_w = 1;
  r.pad_top = 2 - a.pad_top, r.pad_left = 2 - a.pad_left;
  r.ldx = a.ldy, r.ldy = a.ldx, r.scale = 1, r.algorithm = a.algorithm;
  winograd_impl(r);
}

// dm[e] = A dY A^T of a tile, as row `row` of the panels of dm[e], which lie `step` apart
template <class T, int m>
void transform_gradient(const Tiles<T, m>& g, int64_t tile, T* dm, int64_t row, int64_t rows, int64_t step) {
  constexpr int size = m + 2;
  constexpr int64_t width = Vec<T>::width, cols = Tile<T>::cols;
  const Conv2dArgs<T>& a = g.a;
  const Patch<T, m> y(a.y + g.image(tile) * a.ho * a.wo * a.ldy, a.ho, a.wo, a.ldy, g.row(tile),
                      g.col(tile), nullptr);
  const auto column = [&](int64_t c, auto lanes) {
    Vec<T> half[size][m];
    PYDIFF_UNROLL for (int j = 0; j < m; ++j) {
      Vec<T> in[m], out[size];
      PYDIFF_UNROLL for (int i = 0; i < m; ++i)
        in[i] = y.at[i][j] == nullptr ? zero<T>() : load(y.at[i][j] + c, lanes);
      Winograd<m>::output_adjoint(in, out);
      PYDIFF_UNROLL for (int i = 0; i < size; ++i) half[i][j] = out[i];
    }
    T* const to = dm + (c / cols * rows + row) * cols + c % cols;
    PYDIFF_UNROLL for (int i = 0; i < size; ++i) {
      Vec<T> out[size];
      Winograd<m>::output_adjoint(half[i], out);
      PYDIFF_UNROLL for (int j = 0; j < size; ++j) store(to + (i * size + j) * step, out[j]);
    }
  };
  for_lanes<T>(a.co, column);
  for (int64_t c = ceil_div(a.co, width) * width; c < panels<T>(a.co) * cols; c += width)
    for (int e = 0; e < size * size; ++e)
      store(dm + e * step + (c / cols * rows + row) * cols + c % cols, zero<T>());
}

// weight (3, 3, ci, co) = G^T du G from du[e] (ci, ld), which lie `step` apart
template <class T, int m>
void transform_weight_gradient(const Conv2dArgs<T>& a, const T* du, int64_t ld, int64_t step) {
  constexpr int size = m + 2;
  parallel_for(a.ci, [&](int64_t i, int) {
    for_lanes<T>(a.co, [&](int64_t c, auto lanes) {
      Vec<T> half[3][size];
      PYDIFF_UNROLL for (int x = 0; x < size; ++x) {
        Vec<T> in[size], out[3];
        PYDIFF_UNROLL for (int y = 0; y < size; ++y)
          in[y] = load(du + (y * size + x) * step + i * ld + c, lanes);
        Winograd<m>::weight_adjoint(in, out);
        PYDIFF_UNROLL for (int y = 0; y < 3; ++y) half[y][x] = out[y];
      }
      PYDIFF_UNROLL for (int y = 0; y < 3; ++y) {
        Vec<T> out[3];
        Winograd<m>::weight_adjoint(half[y], out);
        PYDIFF_UNROLL for (int x = 0; x < 3; ++x)
          store(a.weight + ((y * 3 + x) * a.ci + i) * a.co + c, out[x], lanes);
      }
    });
  });
}

template <class T, int m>
void backward_weight(const Conv2dArgs<T>& a) {
  constexpr int points = Tiles<T, m>::points;
  constexpr int64_t line = 64 / sizeof(T), cols = Tile<T>::cols;
  const Tiles<T, m> g(a);
  static const int64_t SB = getenv("SBW") ? atoi(getenv("SBW")) : 256;
  const int64_t total = g.count(), block = least(SB, total);
  const int64_t ldv = ceil_div(a.ci, line) * line + line, ldu = ceil_div(a.co, line) * line + line;
  const int64_t v_step = block * ldv, d_step = block * panels<T>(a.co) * cols, u_step = a.ci * ldu;
  const Scratch scratch(checked_bytes(points * (v_step + d_step + u_step) + ceil_div(a.ci, line) * line, sizeof(T)));
  T *const zeros = scratch.template as<T>(), *const v = zeros + ceil_div(a.ci, line) * line;
  T *const dm = v + points * v_step, *const du = dm + points * d_step;
  zero_fill(a.ci, zeros);
  constexpr int64_t most_rows = 224;
  const int64_t row_tasks = ceil_div(a.ci, most_rows), rows_each = ceil_div(a.ci, row_tasks);
  for (int64_t first = 0; first < total; first += block) {
    const int64_t rows = least(block, total - first);
    parallel_for(rows, [&](int64_t r, int) {
      transform_input(g, first + r, zeros, v + r * ldv, v_step);
      transform_gradient(g, first + r, dm, r, rows, d_step);
    });
    parallel_for(points * row_tasks, [&](int64_t task, int) {
      const int64_t e = task / row_tasks, row = task % row_tasks * rows_each;
      const T* const from = v + e * v_step + row;
      product<T, true>(
          least(rows_each, a.ci - row), a.co, rows,
          [&](int64_t i, int64_t) -> View<T> { return {from + i * ldv, ldv}; },
          Packed<T>{dm + e * d_step, rows}, du + e * u_step + row * ldu, ldu, first > 0,
          static_cast<const T*>(nullptr));
    });
  }
  transform_weight_gradient<T, m>(a, du, ldu, u_step);
}

template <class T>
void backward_weight_impl(const Conv2dArgs<T>& a) {
  a.algorithm == kWinograd2 ? backward_weight<T, 2>(a) : backward_weight<T, 4>(a);
}

}  // namespace

void winograd(const Conv2dArgs<float>& a) { winograd_impl(a); }
void winograd(const Conv2dArgs<double>& a) { winograd_impl(a); }
void winograd_backward_data(const Conv2dArgs<float>& a) { backward_data_impl(a); }
void winograd_backward_data(const Conv2dArgs<double>& a) { backward_data_impl(a); }
void winograd_backward_weight(const Conv2dArgs<float>& a) { backward_weight_impl(a); }
void winograd_backward_weight(const Conv2dArgs<double>& a) { backward_weight_impl(a); }
void winograd_pack(const ConvPackArgs<float>& a) { a.algorithm == kWinograd2 ? pack<float, 2>(a) : pack<float, 4>(a); }
void winograd_pack(const ConvPackArgs<double>& a) { a.algorithm == kWinograd2 ? pack<double, 2>(a) : pack<double, 4>(a); }

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
