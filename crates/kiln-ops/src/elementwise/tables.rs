//! The tables of elementwise operations: op codes, PyTorch's names, and the host body of each.
//!
//! A row is all that a new elementwise operation needs in this crate.

use crate::cpu::arch::Arch;
use crate::cpu::loops::Cost;
use crate::cpu::num::{FloatNum, Int, Num};

/// What a row costs: it says so where that is more than memory.
macro_rules! cost {
    () => {
        Cost::Cheap
    };
    ($cost:ident) => {
        Cost::$cost
    };
}

/// Declares an enum of op codes, its names, and one host body per row as a zero-sized type. `$bound` is what the body
/// may do with its operands.
macro_rules! op_table {
    (
        $(#[$doc:meta])* $vis:vis enum $name:ident, trait $row:ident : $bound:ident, mod $rows:ident, macro $with_row:ident,
        $args:tt -> $out:ty {
            $($(#[$vdoc:meta])* $variant:ident $text:literal $(: $cost:ident)? => $body:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every op code of the table.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// PyTorch's name.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        /// The host body of a row.
        pub(crate) trait $row: 'static {
            /// What an element costs.
            const COST: Cost;
            /// One element.
            fn apply<A: Arch, T: $bound> $args -> $out;
        }

        /// One type per row.
        pub(crate) mod $rows {
            use super::*;
            $(#[derive(Clone, Copy)]
            pub(crate) struct $variant;
            impl $row for $variant {
                const COST: Cost = cost!($($cost)?);
                #[inline(always)]
                fn apply<A: Arch, T: $bound> $args -> $out { $body }
            })*
        }

        /// Evaluates `$then` with the type of the row bound to a name.
        macro_rules! $with_row {
            ($op:expr, $r:ident => $then:expr) => {
                match $op { $($crate::elementwise::$name::$variant => { type $r = $crate::elementwise::$rows::$variant; $then })* }
            };
        }
        pub(crate) use $with_row;
    };
}

op_table! {
    /// Functions of one number that need floating point; integers are converted to the default float dtype first.
    pub enum FloatOp, trait FloatRow: FloatNum, mod float_rows, macro with_float_row, (x: T) -> T {
        /// e^x
        Exp "exp": Dear => x.exp::<A>();
        /// 2^x
        Exp2 "exp2": Dear => x.exp2::<A>();
        /// e^x - 1, accurate near 0
        Expm1 "expm1": Dear => x.expm1::<A>();
        /// natural logarithm
        Log "log": Dear => x.log::<A>();
        /// logarithm to base 2
        Log2 "log2": Dear => x.log2::<A>();
        /// logarithm to base 10
        Log10 "log10": Dear => x.log10::<A>();
        /// ln(1 + x), accurate near 0
        Log1p "log1p": Dear => x.log1p::<A>();
        /// square root
        Sqrt "sqrt": Dear => x.sqrt::<A>();
        /// 1 / square root
        Rsqrt "rsqrt": Dear => x.rsqrt::<A>();
        /// 1 / x
        Reciprocal "reciprocal": Dear => T::ONE.div(x);
        /// sine
        Sin "sin": Dear => x.sin::<A>();
        /// cosine
        Cos "cos": Dear => x.cos::<A>();
        /// tangent
        Tan "tan": Dear => x.tan::<A>();
        /// inverse sine
        Asin "asin": Dear => x.asin::<A>();
        /// inverse cosine
        Acos "acos": Dear => x.acos::<A>();
        /// inverse tangent
        Atan "atan": Dear => x.atan::<A>();
        /// hyperbolic sine
        Sinh "sinh": Dear => x.sinh::<A>();
        /// hyperbolic cosine
        Cosh "cosh": Dear => x.cosh::<A>();
        /// hyperbolic tangent
        Tanh "tanh": Dear => x.tanh::<A>();
        /// inverse hyperbolic sine
        Asinh "asinh": Dear => x.asinh::<A>();
        /// inverse hyperbolic cosine
        Acosh "acosh": Dear => x.acosh::<A>();
        /// inverse hyperbolic tangent
        Atanh "atanh": Dear => x.atanh::<A>();
        /// 1 / (1 + e^-x)
        Sigmoid "sigmoid": Dear => x.sigmoid::<A>();
        /// ln(sigmoid(x))
        LogSigmoid "log_sigmoid": Dear => x.log_sigmoid::<A>();
        /// x * sigmoid(x)
        Silu "silu": Dear => x.silu::<A>();
        /// the Gauss error function
        Erf "erf": Dear => x.erf::<A>();
        /// 1 - erf(x)
        Erfc "erfc": Dear => x.erfc::<A>();
        /// x * P(N <= x) for a standard normal N
        Gelu "gelu": Dear => x.gelu::<A>();
        /// the tanh approximation of gelu
        GeluTanh "gelu_tanh": Dear => x.gelu_tanh::<A>();
        /// largest integer not above x
        Floor "floor": Dear => x.floor::<A>();
        /// smallest integer not below x
        Ceil "ceil": Dear => x.ceil::<A>();
        /// nearest integer, halves to even
        Round "round": Dear => x.round::<A>();
        /// x without its fraction
        Trunc "trunc": Dear => x.trunc::<A>();
        /// x - trunc(x)
        Frac "frac": Dear => x.sub(x.trunc::<A>());
        /// the m of x = m 2^e with m within 0.5 and 1, or 0
        FrexpMantissa "frexp": Dear => x.frexp().0;
        /// the e of x = m 2^e
        FrexpExponent "frexp": Dear => x.frexp().1;
    }
}

op_table! {
    /// Functions of one number that keep its dtype, integers included.
    pub enum NumOp, trait NumRow: Num, mod num_rows, macro with_num_row, (x: T) -> T {
        /// -x
        Neg "neg" => T::ZERO.neg_of(x);
        /// |x|
        Abs "abs" => x.abs();
        /// -1, 0 or 1
        Sign "sign" => x.sign();
        /// x * x
        Square "square" => x.mul(x);
        /// max(x, 0)
        Relu "relu" => x.maximum(T::ZERO);
    }
}

op_table! {
    /// Questions about one number.
    pub enum TestOp, trait TestRow: Num, mod test_rows, macro with_test_row, (x: T) -> bool {
        /// not a number
        IsNan "isnan" => x.is_nan();
        /// infinite
        IsInf "isinf" => x.is_infinite();
        /// neither infinite nor not a number
        IsFinite "isfinite" => !(x.is_nan() || x.is_infinite());
        /// plus infinity
        IsPosInf "isposinf" => x.is_infinite() && x > T::ZERO;
        /// minus infinity
        IsNegInf "isneginf" => x.is_infinite() && x < T::ZERO;
        /// negative, or minus zero
        SignBit "signbit" => x.sign_bit();
        /// zero
        LogicalNot "logical_not" => x == T::ZERO;
    }
}

op_table! {
    /// Functions of two numbers of one dtype, integers included.
    pub enum BinaryOp, trait BinaryRow: Num, mod binary_rows, macro with_binary_row, (a: T, b: T) -> T {
        /// a + b
        Add "add" => a.add(b);
        /// a - b
        Sub "sub" => a.sub(b);
        /// a * b
        Mul "mul" => a.mul(b);
        /// the larger one; NaN if either is
        Maximum "maximum" => a.maximum(b);
        /// the smaller one; NaN if either is
        Minimum "minimum" => a.minimum(b);
        /// the larger one; the other one if one is NaN
        Fmax "fmax" => a.fmax(b);
        /// the smaller one; the other one if one is NaN
        Fmin "fmin" => a.fmin(b);
        /// a - b * floor(a / b): the sign of b
        Remainder "remainder": Dear => a.remainder::<A>(b);
        /// a - b * trunc(a / b): the sign of a
        Fmod "fmod": Dear => a.fmod::<A>(b);
        /// floor(a / b)
        FloorDivide "floor_divide": Dear => a.floor_div::<A>(b);
        /// trunc(a / b)
        TruncDivide "trunc_divide" => a.trunc_div::<A>(b);
        /// a^b
        Pow "pow": Dear => a.pow::<A>(b);
        /// 0 where y <= 0, else g: the gradient of relu
        ReluGrad "relu_backward" => if b <= T::ZERO { T::ZERO } else { a };
    }
}

op_table! {
    /// Functions of two numbers that need floating point.
    pub enum FloatBinaryOp, trait FloatBinaryRow: FloatNum, mod float_binary_rows, macro with_float_binary_row, (a: T, b: T) -> T {
        /// a / b
        Div "div" => a.div(b);
        /// the angle of the point (b, a)
        Atan2 "atan2": Dear => a.atan2::<A>(b);
        /// sqrt(a^2 + b^2)
        Hypot "hypot": Dear => a.hypot::<A>(b);
        /// |a| with the sign of b
        Copysign "copysign" => a.copysign(b);
        /// the next representable number after a towards b
        NextAfter "nextafter" => a.nextafter(b);
        /// g * (1 - y^2): the gradient of tanh
        TanhGrad "tanh_backward" => a.mul(T::ONE.sub(b.mul(b)));
        /// g * y * (1 - y): the gradient of sigmoid
        SigmoidGrad "sigmoid_backward" => a.mul(T::ONE.sub(b).mul(b));
    }
}

op_table! {
    /// Functions of two integers of one dtype, or two truth values.
    pub enum IntOp, trait IntRow: Int, mod int_rows, macro with_int_row, (a: T, b: T) -> T {
        /// bits set in both
        BitAnd "bitwise_and" => a.and(b);
        /// bits set in either
        BitOr "bitwise_or" => a.or(b);
        /// bits set in one
        BitXor "bitwise_xor" => a.xor(b);
        /// a shifted towards higher bits
        ShiftLeft "bitwise_left_shift" => a.shift_left(b);
        /// a shifted towards lower bits
        ShiftRight "bitwise_right_shift" => a.shift_right(b);
        /// greatest common divisor
        Gcd "gcd" => a.gcd(b);
        /// least common multiple
        Lcm "lcm" => a.lcm(b);
    }
}

op_table! {
    /// Questions about two numbers.
    pub enum CompareOp, trait CompareRow: Num, mod compare_rows, macro with_compare_row, (a: T, b: T) -> bool {
        /// a == b
        Eq "eq" => a == b;
        /// a != b
        Ne "ne" => a != b;
        /// a < b
        Lt "lt" => a < b;
        /// a <= b
        Le "le" => a <= b;
        /// a > b
        Gt "gt" => a > b;
        /// a >= b
        Ge "ge" => a >= b;
        /// both are not zero
        LogicalAnd "logical_and" => a != T::ZERO && b != T::ZERO;
        /// one is not zero
        LogicalOr "logical_or" => a != T::ZERO || b != T::ZERO;
        /// exactly one is not zero
        LogicalXor "logical_xor" => (a != T::ZERO) != (b != T::ZERO);
    }
}

op_table! {
    /// Functions of three numbers of one dtype.
    pub enum TernaryOp, trait TernaryRow: Num, mod ternary_rows, macro with_ternary_row, (a: T, b: T, c: T) -> T {
        /// a limited to b..=c (c where b > c)
        Clamp "clamp" => a.maximum(b).minimum(c);
        /// a + b * c, each rounded
        AddMul "addcmul" => a.add(b.mul(c));
        /// g where lo <= x <= hi is decided by the mask tensors' order: a if b <= c else 0
        KeepIfLe "keep_if_le" => if b <= c { a } else { T::ZERO };
    }
}
