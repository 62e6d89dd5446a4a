# TA-DFKD on Fashion-MNIST with small networks, for two cores. The losses are
# the paper's; generator, batch size, steps and learning rate are ours.
_base_ = [
    '../_base_/teachers/resnet18w16_fashion_mnist.py',
    '../_base_/students/resnet18w8_fashion_mnist.py',
    '../_base_/generators/upsampling_28_grey.py',
    '../_base_/datasets/fashion_mnist.py',
    '../_base_/schedules/tadfkd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    batch_size=128,
    num_student_steps=5)
train_cfg = dict(max_epochs=25)
train_dataloader = dict(dataset=dict(num_steps=20))
optim_wrapper = dict(student=dict(optimizer=dict(lr=0.1)))
