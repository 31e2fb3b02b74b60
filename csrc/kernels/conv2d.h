// What the files of the convolution family share.
#pragma once
#include "core/args.h"
#include "kernels/gemm.h"

namespace pydiff::PYDIFF_ISA_NAMESPACE {

void winograd(const Conv2dArgs<float>& args);
void winograd(const Conv2dArgs<double>& args);
void winograd_backward_data(const Conv2dArgs<float>& args);
void winograd_backward_data(const Conv2dArgs<double>& args);
void winograd_backward_weight(const Conv2dArgs<float>& args);
void winograd_backward_weight(const Conv2dArgs<double>& args);
void winograd_pack(const ConvPackArgs<float>& args);
void winograd_pack(const ConvPackArgs<double>& args);

}  // namespace pydiff::PYDIFF_ISA_NAMESPACE
