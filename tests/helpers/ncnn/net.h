// The part of ncnn's interface that the exported C++ code uses, with a network that returns its input, so that a compiler can check the code.
#pragma once

#include <cstring>
#include <vector>

namespace ncnn {

enum BorderType { BORDER_CONSTANT, BORDER_REPLICATE, BORDER_REFLECT };

class Mat {
public:
    enum PixelType { PIXEL_RGB = 1, PIXEL_GRAY = 3, PIXEL_RGBA = 4 };

    class Plane {
    public:
        Plane(float* values, int w) : values(values), w(w) {}
        float* row(int y) const { return values + y * w; }

    private:
        float* values;
        int w;
    };

    Mat() {}
    explicit Mat(int w) : w(w), h(1), c(1), values(w) {}
    Mat(int w, int h, int c) : w(w), h(h), c(c), values(w * h * c) {}

    static Mat from_pixels(const unsigned char* pixels, int type, int w, int h)
    {
        const int channels = type == PIXEL_GRAY ? 1 : type == PIXEL_RGB ? 3 : 4;
        Mat mat(w, h, channels);
        for (int c = 0; c < channels; c++)
            for (int i = 0; i < w * h; i++)
                mat.values[c * w * h + i] = pixels[i * channels + c];
        return mat;
    }

    void substract_mean_normalize(const float* mean, const float* factor)
    {
        for (int i = 0; i < (int)values.size(); i++)
            values[i] = (values[i] - mean[i / (w * h)]) * factor[i / (w * h)];
    }

    Plane channel(int index) const { return Plane(const_cast<float*>(values.data()) + index * w * h, w); }
    float& operator[](int index) { return values[index]; }

    int w = 0, h = 0, c = 0;

private:
    std::vector<float> values;
};

inline int source(int position, int size, int border)
{
    return position < size ? position : border == BORDER_REFLECT ? 2 * size - 2 - position : size - 1;
}

inline void copy_make_border(const Mat& in, Mat& out, int top, int bottom, int left, int right, int border, float)
{
    out = Mat(in.w + left + right, in.h + top + bottom, in.c);
    for (int c = 0; c < out.c; c++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++)
                out.channel(c).row(y)[x] = in.channel(c).row(source(y, in.h, border))[source(x, in.w, border)];
}

struct Option {
    bool use_fp16_packed, use_fp16_storage, use_fp16_arithmetic, use_bf16_storage;
};

class Extractor {
public:
    int input(const char* name, const Mat& in) { mat = in; return std::strcmp(name, "in0"); }
    int extract(const char* name, Mat& out) { out = mat; return std::strcmp(name, "out0"); }

private:
    Mat mat;
};

class Net {
public:
    int load_param(const char* path) { return std::strstr(path, ".ncnn.param") ? 0 : -1; }
    int load_model(const char* path) { return std::strstr(path, ".ncnn.bin") ? 0 : -1; }
    Extractor create_extractor() const { return Extractor(); }
    Option opt;
};

}
