/* yuv_to_rgb: converts Y'CbCr of the picture's own matrix and range to R'G'B'.
 * param format: str = auto   the target's pixel format; auto is 8-bit rgb24, planar above
 * param siting: str = left in {left, centre, topleft, none}   where chroma samples lie; none repeats them
 * reads yuv* nv?? p0??le p2??le p4??le yuyv422 uyvy422 yvyu422
 * writes rgb* bgr* 0rgb 0bgr argb abgr gbrp* gbrap*
 * kind convert
 */
/* rgb_to_yuv: converts R'G'B' to Y'CbCr of a matrix and a range.
 * param format: str = auto   the target's pixel format; auto is 4:2:0 of the same depth
 * param matrix: str = auto in {auto, bt601, bt709, bt2020}   auto is the frame's own, else its primaries'
 * param range: str = limited in {limited, full}   of the codes
 * param siting: str = left in {left, centre, topleft}   where chroma samples lie
 * reads rgb* bgr* 0rgb 0bgr argb abgr gbrp* gbrap*
 * writes yuv* nv?? p0??le p2??le p4??le yuyv422 uyvy422 yvyu422
 * kind convert
 */
